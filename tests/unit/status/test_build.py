"""The whole status, and what holds for every status whatever the API server and the replicas report."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.helpers.random_status_inputs import odd, situations
from tests.helpers.status_inputs import MISSING_SECRET, NOW, REFUSED, inputs, status_of
from vllm_operator.api.status import Status
from vllm_operator.status.build import needs_write
from vllm_operator.status.inputs import StatusInputs

STARTING = {"availableReplicas": 0, "readyReplicas": 0, "conditions": [rolling()]}


def starting(*pods: dict[str, Any], **changes: Any) -> StatusInputs:
    """Facts of a first rollout in which no replica is up."""
    return inputs(*pods, deployment=deployment(len(pods), **STARTING), **changes)


def test_status_of_a_serving_server():
    status = status_of(inputs(*[ready_pod(f"mistral-{index}") for index in range(3)]))
    fields = {field: value for field, value in status.items() if field not in {"conditions", "replicaStatuses"}}
    assert fields == {
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


def test_held_requests_are_shown_while_any_waits():
    assert status_of(inputs(ready_pod("mistral-0"), held_requests=3))["heldRequests"] == 3
    assert "heldRequests" not in status_of(inputs(ready_pod("mistral-0")))


def test_computed_memory_is_in_the_status_where_it_is_known():
    computed = {"weightsBytes": 16_094_068_736, "contextBytes": 1_073_741_824, "kvCacheTokens": 29_968, "fits": True}

    status = status_of(replace(inputs(ready_pod()), sizing=computed))

    assert status["sizing"] == computed
    assert Status.model_validate(status).sizing is not None
    assert "sizing" not in status_of(inputs(ready_pod()))


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
def test_phase_before_any_replica_serves_is_the_furthest(pods: list[dict[str, Any]], phase: str):
    names = [body["metadata"]["name"] for body in pods]
    situation = replace(starting(*pods, health=dict.fromkeys(names, REFUSED)))
    if not pods:
        situation = inputs(wanted=1, deployment=deployment(1, replicas=0, updatedReplicas=0, **STARTING))
    assert status_of(situation)["phase"] == phase


def test_server_without_a_deployment_is_pending():
    status = status_of(inputs(deployment=None, wanted_replicas=2))
    assert (status["phase"], status["message"], status["ready"]) == ("Pending", "no Deployment yet", "0/2")


def test_refused_spec_is_invalid_only_while_no_replica_serves():
    assert status_of(inputs(deployment=None, problems=(MISSING_SECRET,)))["phase"] == "Invalid"
    status = status_of(inputs(ready_pod(), problems=(MISSING_SECRET,)))
    assert status["phase"] == "Serving"
    assert status["message"] == f"{MISSING_SECRET.message}; 1/1 replicas serve"


def test_paused_server_still_reports_its_replicas():
    status = status_of(inputs(ready_pod(), paused=True))
    assert status["phase"] == "Paused"
    assert status["message"].endswith("1/1 replicas serve")


def test_stuck_first_rollout_is_failed():
    situation = inputs(
        scheduling_pod(),
        deployment=deployment(1, availableReplicas=0, conditions=[rolling("ProgressDeadlineExceeded")]),
    )
    assert status_of(situation)["phase"] == "Failed"


def test_older_revision_is_named_in_the_message():
    pods = [ready_pod("mistral-old", OLD_REVISION), loading_pod("mistral-new")]
    moving = deployment(2, updatedReplicas=1, availableReplicas=1, conditions=[rolling()])
    status = status_of(inputs(*pods, health={"mistral-new": REFUSED}, deployment=moving))
    assert status["message"].startswith("1/2 replicas serve, 1 of an older revision; mistral-new: downloads or loads")


def test_replaced_evicted_pod_is_not_in_the_message():
    evicted = ready_pod("mistral-evicted")
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted"}
    status = status_of(inputs(evicted, ready_pod("mistral-a"), wanted=1))
    assert (status["phase"], status["message"]) == ("Serving", "1/1 replicas serve")


def test_unchanged_observation_needs_no_write():
    first = status_of(inputs(ready_pod("a"), scheduling_pod("b")))
    later = inputs(ready_pod("a"), scheduling_pod("b"), previous=first, now=NOW + timedelta(days=1))
    assert not needs_write(first, status_of(later))
    assert needs_write({}, first)


def test_status_fits_the_schema_of_the_resource():
    pods = [ready_pod("a"), scheduling_pod("b"), crashed_pod(termination(1, "boom"), "c"), deleted_pod("d")]
    Status.model_validate(status_of(inputs(*pods, autoscaling=True, monitoring=True, cache_claim="models")))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_same_observation_gives_the_same_status_at_any_later_time(situation: StatusInputs):
    first = status_of(situation)
    assert status_of(replace(situation, previous=first, now=NOW + timedelta(hours=1))) == first


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_every_status_fits_the_schema_and_holds_no_empty_field(situation: StatusInputs):
    status = status_of(situation)
    assert Status.model_validate(json.loads(json.dumps(status)))
    assert None not in status.values()
    assert all(entry["reason"] and entry["message"] for entry in status["conditions"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_ready_is_never_true_with_a_refusal_or_a_missing_replica(situation: StatusInputs):
    status = status_of(situation)
    fields = {entry["type"]: entry["status"] for entry in status["conditions"]}
    if fields["Ready"] == "True":
        healthy, wanted = map(int, status["ready"].split("/"))
        assert fields["Accepted"] == "True"
        assert fields["Progressing"] == "False"
        assert healthy >= wanted
        assert fields["Stalled"] == "False"


@settings(max_examples=100, deadline=None)
@given(st.lists(odd, max_size=3), odd, odd)
def test_objects_of_any_shape_never_raise(bodies: list[Any], owner: Any, previous: Any):
    situation = inputs(deployment=owner if isinstance(owner, dict) else None)
    snapshot = replace(situation.snapshot, pods=tuple(body for body in bodies if isinstance(body, dict)))
    before = previous if isinstance(previous, dict) else {}
    Status.model_validate(status_of(replace(situation, snapshot=snapshot, previous=before)))
