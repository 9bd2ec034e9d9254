"""Failures that no retry can end, and those that may pass."""

from __future__ import annotations

import pytest

from tests.helpers.pods import (
    condition,
    deployment,
    rolling,
)
from tests.helpers.status_inputs import condition_of, inputs, status_of
from vllm_operator.diagnosis.causes import CAUSES
from vllm_operator.status.permanent_failures import PERMANENT_REASONS, is_permanent

PULL = 'failed to pull and unpack image "docker.io/vllm/vllm-openai:nope": failed to resolve reference: '

LASTS = [
    ("Pulling", "ImagePullBackOff", PULL + "docker.io/vllm/vllm-openai:nope: not found"),
    ("Pulling", "ImagePullBackOff", PULL + "unexpected status from GET request: 401 Unauthorized"),
    (
        "Pulling",
        "ImagePullBackOff",
        PULL + "pull access denied, repository does not exist or may require authorization",
    ),
    ("Failed", "CreateContainerConfigError", 'secret "hf" not found'),
    ("Failed", "CreateContainerConfigError", "couldn't find key token in Secret llm/hf"),
    ("Failed", "InvalidImageName", 'Failed to apply default image tag "a:b:c"'),
    ("Failed", "RunContainerError", 'exec: "vllm": executable file not found in $PATH'),
    ("CrashLooping", "UnknownFlag", "exit code 2: this vLLM has no --x"),
]
MAY_PASS = [
    ("Pulling", "ImagePullBackOff", PULL + "dial tcp 10.0.0.9:443: i/o timeout"),
    ("Pulling", "ImagePullBackOff", PULL + "lookup registry.example.com: no such host"),
    ("Pulling", "ImagePullBackOff", PULL + "toomanyrequests: You have reached your pull rate limit"),
    ("Pulling", "ContainerCreating", "the node pulls the image and mounts the volumes"),
    ("Failed", "CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"),
    ("Failed", "RunContainerError", "context deadline exceeded"),
    ("Failed", "Evicted", "The node was low on resource: memory."),
    ("CrashLooping", "OutOfGPUMemory", "exit code 1: out of GPU memory"),
    ("CrashLooping", "RateLimited", "exit code 1: too many requests (429)"),
    ("CrashLooping", "ExitCode1", "exit code 1: boom"),
    ("Scheduling", "InsufficientGPU", "0/4 nodes are available"),
    ("Loading", "UnknownFlag", "its log says: this vLLM has no --x"),
]


@pytest.mark.parametrize(("phase", "reason", "message"), LASTS)
def test_permanent_failures(phase: str, reason: str, message: str):
    assert is_permanent(phase, reason, message)


@pytest.mark.parametrize(("phase", "reason", "message"), MAY_PASS)
def test_failures_that_may_pass(phase: str, reason: str, message: str):
    assert not is_permanent(phase, reason, message)


def test_every_permanent_reason_belongs_to_a_state():
    assert PERMANENT_REASONS - {cause.reason for cause in CAUSES} == {"ErrImageNeverPull", "InvalidImageName"}


@pytest.mark.parametrize(
    ("message", "stuck"),
    [
        ('pods "mistral-5f9c" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', True),
        ('admission webhook "policy.example.com" denied the request: image is not signed', True),
        ('pods "mistral-5f9c" is forbidden: exceeded quota: gpus, requested: 1, used: 8, limited: 8', False),
    ],
)
def test_pods_that_the_api_server_refuses_are_stuck_unless_a_quota_may_become_free(message: str, stuck: bool):
    failed = condition("ReplicaFailure", "True", "", "FailedCreate", message)
    none = deployment(
        1, replicas=0, updatedReplicas=0, readyReplicas=0, availableReplicas=0, conditions=[rolling(), failed]
    )
    status = status_of(inputs(wanted=1, deployment=none))
    assert condition_of(status, "Progressing")[0] == ("False" if stuck else "True")
    assert condition_of(status, "Stalled")[0] == ("True" if stuck else "False")
    assert message in status["message"]
