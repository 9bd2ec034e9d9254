"""Stuck rollouts and blocked replicas."""

from __future__ import annotations

from typing import Any

from tests.helpers.pods import (
    OLD_REVISION,
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

NEW = "mistral-new"
UNKNOWN_FLAG = "api_server.py: error: unrecognized arguments: --no-such-flag"


def rollout_to(new: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The status while two old replicas serve and `new` is the first of the wanted revision."""
    pods = [ready_pod("mistral-old-0", OLD_REVISION), ready_pod("mistral-old-1", OLD_REVISION), new]
    moving = deployment(3, updatedReplicas=1, readyReplicas=2, availableReplicas=2, conditions=[rolling()])
    return status_of(inputs(*pods, deployment=moving, **changes))


def test_broken_image_with_older_serving_replicas_is_stuck_before_the_deadline():
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


def test_rollout_that_waits_for_a_gpu_is_not_stuck():
    status = rollout_to(scheduling_pod(NEW))
    assert condition_of(status, "Progressing") == ("True", "RolloutBlocked")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_crash_of_an_older_revision_does_not_make_the_new_rollout_stuck():
    broken = crashed_pod(termination(2, UNKNOWN_FLAG), "mistral-old")
    broken["metadata"]["labels"]["pod-template-hash"] = OLD_REVISION
    moving = deployment(1, replicas=2, updatedReplicas=1, availableReplicas=0, conditions=[rolling()])
    status = status_of(inputs(broken, loading_pod(NEW), wanted=1, health={NEW: REFUSED}, deployment=moving))
    assert condition_of(status, "Progressing") == ("True", "RollingOut")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_change_that_the_controller_has_not_observed_is_not_stuck():
    cured = deployment(1, availableReplicas=0, conditions=[rolling()])
    cured["metadata"]["generation"] = 5
    status = status_of(inputs(crashed_pod(termination(2, UNKNOWN_FLAG)), deployment=cured))
    assert condition_of(status, "Progressing") == ("True", "Starting")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_image_that_vanished_after_the_rollout_is_stalled():
    status = status_of(inputs(ready_pod("mistral-a"), waiting_pod("ImagePullBackOff", "x: not found", "mistral-b")))
    assert condition_of(status, "Progressing") == ("False", "Complete")
    assert condition_of(status, "Ready") == ("False", "ImagePullBackOff")
    assert condition_of(status, "Stalled") == ("True", "ImagePullBackOff")
