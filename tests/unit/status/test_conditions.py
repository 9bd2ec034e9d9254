"""The conditions of a server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.pods import (
    OLD_REVISION,
    crashed_pod,
    deleted_pod,
    deployment,
    loading_pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.status_inputs import MISSING_SECRET, NOW, REFUSED, condition_of, conditions, inputs, status_of
from vllm_operator.probing.health import HealthReason, ReplicaHealth
from vllm_operator.status.conditions import CONDITIONS

CRASHED = crashed_pod(termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag"), "mistral-new")


def stuck(wanted: int, **counts: int) -> dict[str, Any]:
    return deployment(wanted, **counts, conditions=[rolling("ProgressDeadlineExceeded")])


def old_pods(count: int) -> list[dict[str, Any]]:
    return [ready_pod(f"mistral-old-{index}", OLD_REVISION) for index in range(count)]


def test_three_serving_replicas_are_ready():
    status = status_of(inputs(*[ready_pod(f"mistral-{index}") for index in range(3)]))
    assert condition_of(status, "Ready") == ("True", "Serving")
    assert condition_of(status, "Progressing") == ("False", "Complete")
    assert condition_of(status, "Available") == ("True", "Serving")
    assert condition_of(status, "EngineHealthy") == ("True", "Answering")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")


def test_ready_comes_first_and_every_condition_names_the_generation():
    status = status_of(inputs(ready_pod()))
    assert status["conditions"][0]["type"] == "Ready"
    assert {entry["observedGeneration"] for entry in status["conditions"]} == {7}


def test_missing_secret_sets_ready_false():
    status = status_of(inputs(wanted=0, deployment=None, problems=(MISSING_SECRET,)))
    assert condition_of(status, "Accepted") == ("False", "SecretNotFound")
    assert condition_of(status, "Ready") == ("False", "SecretNotFound")
    assert condition_of(status, "Stalled") == ("True", "SecretNotFound")
    assert "spec.model.tokenSecretRef" in conditions(status)["Ready"]["message"]


def test_refused_spec_leaves_a_serving_server_available_but_not_ready():
    status = status_of(inputs(ready_pod(), problems=(MISSING_SECRET,)))
    assert condition_of(status, "Available") == ("True", "Serving")
    assert condition_of(status, "Ready") == ("False", "SecretNotFound")


def test_accepted_carries_the_notes():
    status = status_of(inputs(ready_pod(), notes=("flags could not be checked: unknown version",)))
    assert conditions(status)["Accepted"]["message"] == "flags could not be checked: unknown version"


def test_progressing_names_what_the_rollout_waits_for():
    pods = [*old_pods(1), loading_pod("mistral-new")]
    moving = deployment(2, updatedReplicas=1, availableReplicas=1, conditions=[rolling()])
    status = status_of(inputs(*pods, health={"mistral-new": REFUSED}, deployment=moving))
    assert condition_of(status, "Progressing") == ("True", "RollingOut")
    assert "mistral-new: downloads or loads the model" in conditions(status)["Progressing"]["message"]


def test_surge_replica_without_a_gpu_blocks_the_rollout_until_one_is_free():
    moving = deployment(2, updatedReplicas=1, availableReplicas=2, conditions=[rolling()])
    waiting = scheduling_pod("mistral-new")
    status = status_of(inputs(*old_pods(2), waiting, deployment=moving))
    assert condition_of(status, "Progressing") == ("True", "RolloutBlocked")
    assert "rollout.maxSurge needs spare GPUs" in conditions(status)["Progressing"]["message"]

    stopping = deleted_pod("mistral-leaves")
    status = status_of(inputs(*old_pods(1), waiting, stopping, deployment=moving))
    assert condition_of(status, "Progressing") == ("True", "RollingOut"), "the one that stops frees its GPU"


def test_rolled_back_rollout_is_reported_until_the_spec_changes():
    status = status_of(inputs(ready_pod(), rolled_back="mistral-new: exit code 2"))
    assert condition_of(status, "Progressing") == ("False", "RolledBack")
    assert condition_of(status, "Ready") == ("False", "RolledBack")
    assert condition_of(status, "Stalled") == ("True", "RolledBack")
    assert condition_of(status, "Available") == ("True", "Serving")
    assert "mistral-new: exit code 2" in conditions(status)["Progressing"]["message"]


def test_broken_image_with_older_serving_replicas_is_available_and_not_ready():
    pods = [*old_pods(2), waiting_pod("ImagePullBackOff", "not found", "mistral-new")]
    status = status_of(inputs(*pods, deployment=stuck(3, updatedReplicas=1, availableReplicas=2)))
    assert condition_of(status, "Available") == ("True", "OlderRevision")
    assert condition_of(status, "Progressing") == ("False", "Stuck")
    assert condition_of(status, "Ready") == ("False", "Stuck")
    assert "mistral-new: not found; check image and imagePullSecrets" in conditions(status)["Progressing"]["message"]
    assert status["phase"] == "Degraded"


def test_crash_loop_past_the_deadline_is_stalled():
    status = status_of(inputs(CRASHED, deployment=stuck(1, availableReplicas=0)))
    assert condition_of(status, "Stalled") == ("True", "Stuck")
    assert condition_of(status, "EngineHealthy") == ("False", "UnknownFlag")
    assert "this vLLM has no --no-such-flag: correct or remove it" in conditions(status)["Stalled"]["message"]


def test_stuck_rollout_names_its_progress_and_the_cause():
    pods = [*old_pods(2), CRASHED]
    status = status_of(inputs(*pods, deployment=stuck(3, updatedReplicas=1, availableReplicas=2)))
    assert conditions(status)["Progressing"]["message"] == (
        "0 of 3 replicas of the wanted revision serving at the deadline; mistral-new: exit code 2: "
        "this vLLM has no --no-such-flag: correct or remove it (engine.extraArgs)"
    )


def test_image_that_cannot_be_pulled_for_now_is_not_stalled():
    pods = [waiting_pod("ImagePullBackOff", "dial tcp 10.0.0.9:443: i/o timeout")]
    status = status_of(inputs(*pods, deployment=deployment(1, availableReplicas=0, conditions=[rolling()])))
    assert condition_of(status, "Stalled") == ("False", "NotStalled")
    assert condition_of(status, "Available") == ("False", "NoReplicaServes")


def test_replica_that_fails_after_the_rollout_makes_ready_false_with_its_cause():
    lost = {"mistral-b": ReplicaHealth("ModelNotServed", "lists no mistral-7b (it lists tiny)")}
    status = status_of(inputs(ready_pod("mistral-a"), ready_pod("mistral-b"), health=lost))
    assert condition_of(status, "Ready") == ("False", "ModelNotServed")
    assert condition_of(status, "EngineHealthy") == ("False", "ModelNotServed")
    assert condition_of(status, "Progressing") == ("False", "Complete")
    assert "compare model.servedNames" in conditions(status)["Ready"]["message"]


def test_ready_replicas_that_the_operator_cannot_reach_leave_available_unknown():
    status = status_of(inputs(ready_pod("mistral-a"), health={"mistral-a": ReplicaHealth("Timeout", "no answer")}))
    assert condition_of(status, "Available") == ("Unknown", "Unreachable")
    assert condition_of(status, "EngineHealthy") == ("Unknown", "Timeout")
    assert condition_of(status, "Ready") == ("False", "Timeout")


@pytest.mark.parametrize("reason", ["Timeout", "Unreachable"])
def test_unreachable_replicas_on_several_nodes_point_to_the_operator(reason: HealthReason):
    pods = [on_node(f"mistral-{index}", f"gpu-{index % 2}") for index in range(4)]
    status = status_of(inputs(*pods, health={name_of(body): ReplicaHealth(reason, "no answer") for body in pods}))
    assert {entry["phase"] for entry in status["replicaStatuses"]} == {"Unknown"}
    message = "the operator reaches none of 4 replicas on 2 nodes"
    assert conditions(status)["Available"]["message"].startswith(message)
    assert condition_of(status, "Available") == ("Unknown", "Unreachable")
    assert condition_of(status, "EngineHealthy") == ("Unknown", reason)
    assert condition_of(status, "Stalled") == ("False", "NotStalled")
    assert message in status["message"]


def test_one_replica_that_answers_clears_the_operator():
    pods = [on_node(f"mistral-{index}", f"gpu-{index}") for index in range(3)]
    bad = {name_of(body): ReplicaHealth("Timeout", "no answer") for body in pods[1:]}
    status = status_of(inputs(*pods, health=bad))
    assert status["ready"] == "1/3"
    assert "the operator reaches none" not in str(status)


def test_unreachable_replicas_on_one_node_do_not_point_to_the_operator():
    pods = [on_node(f"mistral-{index}", "gpu-0") for index in range(2)]
    status = status_of(inputs(*pods, health={name_of(body): ReplicaHealth("Timeout", "no answer") for body in pods}))
    assert condition_of(status, "Available") == ("Unknown", "Unreachable")
    assert "the operator reaches none" not in str(status)


def on_node(name: str, node: str) -> dict[str, Any]:
    body = ready_pod(name)
    return {**body, "spec": {**body["spec"], "nodeName": node}}


def name_of(body: dict[str, Any]) -> str:
    name: str = body["metadata"]["name"]
    return name


def test_no_wanted_replica_is_ready_and_idle():
    status = status_of(inputs(deployment=deployment(0)))
    assert condition_of(status, "Ready") == ("True", "Idle")
    assert condition_of(status, "Available") == ("False", "Idle")
    assert status["phase"] == "Idle"


def test_unwanted_children_have_no_condition():
    kinds = conditions(status_of(inputs(ready_pod()))).keys()
    assert not kinds & {"CacheReady", "AutoscalingActive", "MonitoringActive"}


def test_transition_time_moves_only_with_the_status():
    first = status_of(inputs(loading_pod("mistral-a"), health={"mistral-a": REFUSED}))
    later = NOW + timedelta(minutes=5)
    second = status_of(inputs(ready_pod("mistral-a"), previous=first, now=later))
    assert conditions(second)["Ready"]["lastTransitionTime"] == "2026-03-02T09:05:00Z"
    assert conditions(second)["Accepted"]["lastTransitionTime"] == "2026-03-02T09:00:00Z"


def test_stalled_engine_is_named_with_its_remedy():
    stalled = ReplicaHealth("Stalled", "/health answers 200, but a completion got no answer")
    status = status_of(inputs(ready_pod("a"), ready_pod("b"), health={"b": stalled}))
    assert condition_of(status, "EngineHealthy") == ("False", "EngineStalled")
    assert (
        conditions(status)["EngineHealthy"]["message"]
        == f"b: {stalled.message}; delete the pod: the Deployment replaces it"
    )
    assert condition_of(status, "Ready") == ("False", "EngineStalled")
    assert condition_of(status, "Available") == ("True", "Serving")
    assert condition_of(status, "Stalled") == ("False", "NotStalled")
    assert (status["phase"], status["ready"]) == ("Degraded", "1/2")
    assert status["message"] == f"1/2 replicas serve; b: {stalled.message}"


def test_stalled_only_replica_leaves_available_false():
    stalled = ReplicaHealth("Stalled", "/health answers 200, but a completion got no answer")
    status = status_of(inputs(ready_pod("a"), health={"a": stalled}))
    assert condition_of(status, "Available") == ("False", "NoReplicaServes")
    assert (status["phase"], status["ready"]) == ("Failed", "0/1")


NOTHING_STANDS: dict[str, Any] = {
    "wanted": 1,
    "deployment": None,
    "cache_claim": "mistral-cache",
    "autoscaling": True,
    "monitoring": True,
    "monitoring_children": ("PodMonitor", "PrometheusRule"),
    "wanted_replicas": 1,
}
DELETED_AT = {"deletionTimestamp": "2026-03-02T09:00:00Z"}


def ending() -> dict[str, Any]:
    """Return the children of a server while they are being deleted."""
    body = deployment(1)
    body["metadata"] |= DELETED_AT
    scaling = [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}]
    return {
        **NOTHING_STANDS,
        "deployment": body,
        "claim": {"metadata": DELETED_AT, "status": {"phase": "Bound"}},
        "autoscaler": {"metadata": DELETED_AT, "status": {"conditions": scaling}},
    }


@pytest.mark.parametrize(
    ("changes", "true"),
    [
        ({**NOTHING_STANDS, "problems": (MISSING_SECRET,)}, {"Stalled"}),
        ({**NOTHING_STANDS, "paused": True}, {"Accepted"}),
        ({**NOTHING_STANDS, "paused": True, "problems": (MISSING_SECRET,)}, {"Stalled"}),
        ({**NOTHING_STANDS, "generation": 0}, {"Accepted", "Progressing"}),
        ({**NOTHING_STANDS, "generation": 1}, {"Accepted", "Progressing"}),
        (ending(), {"Accepted", "Progressing"}),
    ],
    ids=["refused", "paused", "paused and refused", "not yet applied", "never observed", "children being deleted"],
)
def test_no_condition_claims_what_does_not_stand(changes: dict[str, Any], true: set[str]) -> None:
    status = status_of(inputs(**changes))
    assert set(conditions(status)) == {kind for kind, _ in CONDITIONS}
    assert {kind for kind, entry in conditions(status).items() if entry["status"] == "True"} == true


@pytest.mark.parametrize("kind", ["Deployment", "Service", "HorizontalPodAutoscaler", "PersistentVolumeClaim"])
def test_paused_server_whose_spec_is_not_carried_out_is_not_ready(kind: str) -> None:
    status = status_of(inputs(ready_pod(), paused=True, pending=(kind, "PodMonitor")))
    message = f"paused: the latest spec is not carried out ({kind}) until spec.paused is false"
    for condition, reason in (("Ready", "Paused"), ("Progressing", "Paused"), ("Stalled", "Paused")):
        assert condition_of(status, condition) == ("False", reason)
        assert conditions(status)[condition]["message"] == message
    assert condition_of(status, "Available") == ("True", "Serving")
    assert status["message"].startswith(message)


@pytest.mark.parametrize("pending", [(), ("PodMonitor", "PrometheusRule")])
def test_paused_server_whose_spec_is_carried_out_is_ready(pending: tuple[str, ...]) -> None:
    status = status_of(inputs(ready_pod(), paused=True, pending=pending))
    assert condition_of(status, "Ready") == ("True", "Serving")
