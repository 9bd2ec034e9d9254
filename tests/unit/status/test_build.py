"""The whole status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.pods import (
    NO_GPU,
    OLD_REVISION,
    crashed_pod,
    deleted_pod,
    deployment,
    loading_pod,
    pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.status_inputs import MISSING_SECRET, NOW, REFUSED, SERVING, inputs, status_of
from vllm_operator.api.status import Status
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.build import needs_write
from vllm_operator.status.inputs import StatusInputs

STARTING = {"availableReplicas": 0, "readyReplicas": 0, "conditions": [rolling()]}


def starting(*pods: dict[str, Any], **changes: Any) -> StatusInputs:
    """Facts of a first rollout in which no replica is up."""
    return inputs(*pods, deployment=deployment(len(pods), **STARTING), **changes)


def test_serving_server_tells_everything_a_user_looks_for():
    status = status_of(inputs(*[ready_pod(f"mistral-{index}") for index in range(3)]))
    told = {field: value for field, value in status.items() if field not in {"conditions", "replicaStatuses"}}
    assert told == {
        "observedGeneration": 7,
        "phase": "Serving",
        "message": "3/3 replicas serve",
        "ready": "3/3",
        "replicas": 3,
        "readyReplicas": 3,
        "healthyReplicas": 3,
        "updatedReplicas": 3,
        "selector": "app.kubernetes.io/instance=mistral",
        "endpoint": "http://mistral.llm.svc",
        "version": "0.32.0",
        "servedModels": ["mistral-7b"],
        "capacity": {"kvCacheTokens": 412_000, "maxModelLen": 8192, "concurrency": 50},
    }


def test_message_names_the_pod_that_finds_no_gpu():
    pods = [ready_pod("mistral-a"), ready_pod("mistral-b"), scheduling_pod("mistral-c")]
    status = status_of(inputs(*pods))
    assert status["message"] == "2/3 replicas serve; mistral-c: no node with a free nvidia.com/gpu (0/4 nodes)"
    assert status["phase"] == "Degraded"
    assert status["replicaStatuses"][0]["message"] == NO_GPU


@pytest.mark.parametrize(
    ("pods", "phase"),
    [
        ([], "Pending"),
        ([scheduling_pod()], "Scheduling"),
        ([pod()], "Pending"),
        ([waiting_pod("ImagePullBackOff", "dial tcp 10.0.0.9:443: i/o timeout")], "Pending"),
        ([waiting_pod("ImagePullBackOff", "vllm:nope: not found")], "Failed"),
        ([loading_pod()], "Loading"),
        ([loading_pod("mistral-a"), scheduling_pod("mistral-b")], "Loading"),
        ([loading_pod("mistral-a"), crashed_pod(termination(1), "mistral-b")], "Loading"),
        ([crashed_pod(termination(1))], "Failed"),
        ([waiting_pod("CreateContainerConfigError", 'secret "hf" not found')], "Failed"),
    ],
)
def test_phase_before_anything_serves_is_the_furthest_stage(pods: list[dict[str, Any]], phase: str):
    names = [body["metadata"]["name"] for body in pods]
    seen = replace(starting(*pods, health=dict.fromkeys(names, REFUSED)))
    if not pods:
        seen = inputs(wanted=1, deployment=deployment(1, replicas=0, updatedReplicas=0, **STARTING))
    assert status_of(seen)["phase"] == phase


def test_server_without_a_deployment_is_pending():
    status = status_of(inputs(deployment=None, wanted_replicas=2))
    assert (status["phase"], status["message"], status["ready"]) == ("Pending", "no Deployment yet", "0/2")


def test_refused_manifest_is_invalid_only_while_nothing_serves():
    assert status_of(inputs(deployment=None, problems=(MISSING_SECRET,)))["phase"] == "Invalid"
    status = status_of(inputs(ready_pod(), problems=(MISSING_SECRET,)))
    assert status["phase"] == "Serving"
    assert status["message"] == f"{MISSING_SECRET.message}; 1/1 replicas serve"


def test_paused_server_goes_on_telling_its_replicas():
    status = status_of(inputs(ready_pod(), paused=True))
    assert status["phase"] == "Paused"
    assert status["message"].endswith("1/1 replicas serve")


def test_stuck_first_rollout_is_failed():
    seen = inputs(
        scheduling_pod(),
        deployment=deployment(1, availableReplicas=0, conditions=[rolling("ProgressDeadlineExceeded")]),
    )
    assert status_of(seen)["phase"] == "Failed"


def test_older_revision_is_named_in_the_message():
    pods = [ready_pod("mistral-old", OLD_REVISION), loading_pod("mistral-new")]
    moving = deployment(2, updatedReplicas=1, availableReplicas=1, conditions=[rolling()])
    status = status_of(inputs(*pods, health={"mistral-new": REFUSED}, deployment=moving))
    assert status["message"].startswith("1/2 replicas serve, 1 of an older revision; mistral-new: downloads or loads")


def test_evicted_pod_that_was_replaced_does_not_spoil_the_message():
    evicted = ready_pod("mistral-evicted")
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted"}
    status = status_of(inputs(evicted, ready_pod("mistral-a"), wanted=1))
    assert (status["phase"], status["message"]) == ("Serving", "1/1 replicas serve")


def test_two_versions_are_told_in_order_during_a_rollout():
    newer = replace(SERVING, version="0.32.0")
    older = replace(SERVING, version="0.9.2")
    status = status_of(inputs(ready_pod("a"), ready_pod("b"), health={"a": newer, "b": older}))
    assert status["version"] == "0.9.2, 0.32.0"


def test_capacity_is_the_least_of_the_serving_replicas():
    small = replace(SERVING, kv_cache_tokens=1000, concurrency=None)
    pods = [ready_pod("a"), ready_pod("b"), deleted_pod("c")]
    healths = {"a": SERVING, "b": small, "c": replace(SERVING, kv_cache_tokens=1)}
    capacity = status_of(inputs(*pods, wanted=2, health=healths))["capacity"]
    assert capacity == {"kvCacheTokens": 1000, "maxModelLen": 8192, "concurrency": 50}


def test_restarted_operator_changes_nothing_before_the_first_answers():
    pods = [ready_pod("a"), ready_pod("b"), scheduling_pod("c")]
    known = status_of(inputs(*pods, health={"b": replace(SERVING, version="0.31.0")}))
    restarted = inputs(
        *pods, health=dict.fromkeys("abc", ReplicaHealth()), previous=known, now=NOW + timedelta(hours=1)
    )
    assert status_of(restarted) == known


def test_unchanged_observation_needs_no_write():
    first = status_of(inputs(ready_pod("a"), scheduling_pod("b")))
    later = inputs(ready_pod("a"), scheduling_pod("b"), previous=first, now=NOW + timedelta(days=1))
    assert not needs_write(first, status_of(later))
    assert needs_write({}, first)


def test_status_fits_the_schema_of_the_resource():
    pods = [ready_pod("a"), scheduling_pod("b"), crashed_pod(termination(1, "boom"), "c"), deleted_pod("d")]
    Status.model_validate(status_of(inputs(*pods, autoscaling=True, monitoring=True, cache_claim="models")))
