"""The rollout, as the Deployment reports it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import (
    OLD_REVISION,
    condition,
    crashed_pod,
    deployment,
    ready_pod,
    rolling,
    termination,
)
from tests.helpers.status_inputs import condition_of, conditions, inputs, status_of

NOW_STAMP = "2026-03-02T09:00:00Z"
CRASHED = crashed_pod(termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag"), "mistral-new")


def stuck(wanted: int, **counts: int) -> dict[str, Any]:
    return deployment(wanted, **counts, conditions=[rolling("ProgressDeadlineExceeded")])


def old_pods(count: int) -> list[dict[str, Any]]:
    return [ready_pod(f"mistral-old-{index}", OLD_REVISION) for index in range(count)]


def test_deployment_that_is_being_deleted_is_progressing():
    """Its replicas may serve on for as long as a finalizer holds it, and no change of the spec reaches them."""
    ending = deployment(1)
    ending["metadata"] |= {"deletionTimestamp": NOW_STAMP, "finalizers": ["example.com/hold"]}
    status = status_of(inputs(ready_pod(), deployment=ending))
    assert condition_of(status, "Progressing") == ("True", "Recreating")
    assert condition_of(status, "Ready") == ("False", "Recreating")
    assert condition_of(status, "Available") == ("True", "Serving")


def test_deployment_that_has_not_observed_its_spec_is_progressing():
    behind = deployment(1)
    behind["metadata"]["generation"] = 5
    status = status_of(inputs(ready_pod(), deployment=behind))
    assert condition_of(status, "Progressing") == ("True", "Starting")
    assert condition_of(status, "Ready") == ("False", "Starting")


def test_deployment_with_another_number_than_the_spec_is_progressing():
    assert condition_of(status_of(inputs(ready_pod(), wanted_replicas=2)), "Progressing") == ("True", "Starting")


def test_autoscaled_number_is_not_compared_with_the_spec():
    assert condition_of(status_of(inputs(ready_pod(), wanted_replicas=None)), "Ready") == ("True", "Serving")


def test_surge_replica_that_is_stuck_keeps_ready_false_though_enough_serve():
    pods = [*old_pods(2), CRASHED]
    status = status_of(inputs(*pods, wanted=2, deployment=stuck(2, replicas=3, updatedReplicas=1)))
    assert status["ready"] == "2/2"
    assert condition_of(status, "Ready") == ("False", "Stuck")


def test_exhausted_quota_is_named():
    full = deployment(1, replicas=0, updatedReplicas=0, availableReplicas=0)
    message = 'pods "mistral-5f9c" is forbidden: exceeded quota: gpus'
    full["status"]["conditions"] = [rolling(), condition("ReplicaFailure", "True", "", "FailedCreate", message)]
    status = status_of(inputs(wanted=1, deployment=full))
    assert message in conditions(status)["Progressing"]["message"]
    assert message in status["message"]


@pytest.mark.parametrize(
    "refusal",
    [
        'pods "a" is forbidden: unable to validate against any security context constraint: [provider "anyuid": x]',
        "spec.securityContext.runAsUser: Invalid value: 1000: must be in the ranges: [1000800000, 1000809999]",
    ],
)
def test_refused_user_id_names_the_profile_that_leaves_it_to_the_namespace(refusal):
    refused = deployment(1, replicas=0, updatedReplicas=0, availableReplicas=0)
    refused["status"]["conditions"] = [rolling(), condition("ReplicaFailure", "True", "", "FailedCreate", refusal)]
    status = status_of(inputs(wanted=1, deployment=refused))
    assert "set spec.security.profile: openshift" in status["message"]
    assert refusal in status["message"]
