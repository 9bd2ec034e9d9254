"""A rollout that meets what only a person can cure is stuck at once; what may pass is waited for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import (
    OLD_REVISION,
    condition,
    crashed_pod,
    deployment,
    loading_pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.status_inputs import REFUSED, condition_of, conditions, inputs, status_of
from vllm_operator.diagnosis.causes import CAUSES
from vllm_operator.status.permanent_failures import PERMANENT_REASONS, is_permanent

NEW = "mistral-new"
UNKNOWN_FLAG = "api_server.py: error: unrecognized arguments: --no-such-flag"
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
def test_what_a_person_must_cure_lasts(phase: str, reason: str, message: str):
    assert is_permanent(phase, reason, message)


@pytest.mark.parametrize(("phase", "reason", "message"), MAY_PASS)
def test_what_may_pass_does_not_last(phase: str, reason: str, message: str):
    assert not is_permanent(phase, reason, message)


def test_every_lasting_cause_is_one_that_a_state_can_have():
    assert PERMANENT_REASONS - {cause.reason for cause in CAUSES} == {"ErrImageNeverPull", "InvalidImageName"}


def rollout_to(new: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The status while two old replicas serve and `new` is the first of the wanted revision."""
    pods = [ready_pod("mistral-old-0", OLD_REVISION), ready_pod("mistral-old-1", OLD_REVISION), new]
    moving = deployment(3, updatedReplicas=1, readyReplicas=2, availableReplicas=2, conditions=[rolling()])
    return status_of(inputs(*pods, deployment=moving, **changes))


def test_broken_image_beside_serving_old_replicas_is_stuck_before_the_deadline():
    broken = waiting_pod("ImagePullBackOff", "vllm/vllm-openai:nope: not found", NEW)
    status = rollout_to(broken)
    assert condition_of(status, "Available") == ("True", "OlderRevision")
    assert condition_of(status, "Progressing") == ("False", "Stuck")
    assert condition_of(status, "Ready") == ("False", "Stuck")
    assert condition_of(status, "Stalled") == ("True", "Stuck")
    assert status["phase"] == "Degraded"
    assert conditions(status)["Progressing"]["message"] == (
        "0 of 3 replicas of the wanted revision serving; mistral-new: vllm/vllm-openai:nope: not found; "
        "check image and imagePullSecrets"
    )


def test_older_revision_that_serves_is_named_with_its_image():
    old = ready_pod("mistral-old", OLD_REVISION)
    old["spec"]["containers"][0]["image"] = "vllm/vllm-openai:v0.31.0"
    moving = deployment(2, updatedReplicas=1, availableReplicas=1, conditions=[rolling()])
    status = status_of(inputs(old, loading_pod(NEW), health={NEW: REFUSED}, deployment=moving))
    assert conditions(status)["Available"]["message"] == (
        f"1 of 1 serving replica of an older revision: {OLD_REVISION} (image vllm/vllm-openai:v0.31.0)"
    )


def test_unknown_flag_is_stuck_at_its_first_crash():
    status = status_of(
        inputs(
            crashed_pod(termination(2, UNKNOWN_FLAG)),
            deployment=deployment(1, availableReplicas=0, conditions=[rolling()]),
        )
    )
    assert condition_of(status, "Progressing") == ("False", "Stuck")
    assert condition_of(status, "Stalled") == ("True", "Stuck")
    assert status["phase"] == "Failed"


def test_rollout_that_waits_for_a_gpu_goes_on():
    status = rollout_to(scheduling_pod(NEW))
    assert condition_of(status, "Progressing") == ("True", "RollingOut")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_cure_of_an_older_revision_that_crashes_is_a_rollout_under_way():
    broken = crashed_pod(termination(2, UNKNOWN_FLAG), "mistral-old")
    broken["metadata"]["labels"]["pod-template-hash"] = OLD_REVISION
    moving = deployment(1, replicas=2, updatedReplicas=1, availableReplicas=0, conditions=[rolling()])
    status = status_of(inputs(broken, loading_pod(NEW), wanted=1, health={NEW: REFUSED}, deployment=moving))
    assert condition_of(status, "Progressing") == ("True", "RollingOut")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_change_that_the_controller_has_not_seen_is_no_longer_stuck():
    cured = deployment(1, availableReplicas=0, conditions=[rolling()])
    cured["metadata"]["generation"] = 5
    status = status_of(inputs(crashed_pod(termination(2, UNKNOWN_FLAG)), deployment=cured))
    assert condition_of(status, "Progressing") == ("True", "Starting")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_image_that_vanished_after_the_rollout_waits_for_a_person():
    status = status_of(inputs(ready_pod("mistral-a"), waiting_pod("ImagePullBackOff", "x: not found", "mistral-b")))
    assert condition_of(status, "Progressing") == ("False", "Complete")
    assert condition_of(status, "Ready") == ("False", "ImagePullBackOff")
    assert condition_of(status, "Stalled") == ("True", "ImagePullBackOff")


@pytest.mark.parametrize(
    ("words", "stuck"),
    [
        ('pods "mistral-5f9c" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', True),
        ('admission webhook "policy.example.com" denied the request: image is not signed', True),
        ('pods "mistral-5f9c" is forbidden: exceeded quota: gpus, requested: 1, used: 8, limited: 8', False),
    ],
)
def test_pods_that_the_api_server_refuses_are_stuck_unless_a_quota_may_become_free(words: str, stuck: bool):
    failed = condition("ReplicaFailure", "True", "", "FailedCreate", words)
    none = deployment(
        1, replicas=0, updatedReplicas=0, readyReplicas=0, availableReplicas=0, conditions=[rolling(), failed]
    )
    status = status_of(inputs(wanted=1, deployment=none))
    assert condition_of(status, "Progressing")[0] == ("False" if stuck else "True")
    assert condition_of(status, "Stalled")[0] == ("True" if stuck else "False")
    assert words in status["message"]
