from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tools.harness.kube import condition
from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_status import GatewayStatus
from vllm_operator.api.problem import Problem
from vllm_operator.gateway.held_reader import HeldCounts
from vllm_operator.gateway.models import resolve_models
from vllm_operator.gateway.snapshot import GatewayServer, ReplicaEndpoint
from vllm_operator.gateway.status import GatewayInputs, build_gateway_status, gateway_events

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(ready: int, replicas: int = 2) -> dict[str, Any]:
    status = {"replicas": replicas, "readyReplicas": ready, "updatedReplicas": replicas, "observedGeneration": 1}
    return {"metadata": {"generation": 1}, "status": status}


def inputs(**changes: Any) -> GatewayInputs:
    servers = [GatewayServer("a", ("m",), tuple(ReplicaEndpoint("", n) for n in range(changes.pop("endpoints", 1))))]
    fields: dict[str, Any] = {
        "name": "chat",
        "generation": 3,
        "previous": {},
        "now": NOW,
        "keys": 2,
        "address": "http://x",
        "wanted": 2,
        "resolution": resolve_models(GatewaySpec(), servers),
        "deployment": deployment(2),
    }
    return GatewayInputs(**{**fields, **changes})


def test_a_gateway_that_serves_is_ready() -> None:
    status = build_gateway_status(inputs())
    GatewayStatus.model_validate(status)
    assert status["phase"] == "Serving"
    assert status["models"] == [{"name": "m", "servers": ["a"], "readyEndpoints": 1}]
    assert condition({"status": status}, "Ready")["status"] == "True"
    assert status["message"] == "2/2 pods are ready; 1 models are served"


def test_held_requests_are_counted_by_server_and_unknown_ones_are_absent() -> None:
    counts = dict.fromkeys("abcde", 2)
    status = build_gateway_status(inputs(held=HeldCounts(counts)))
    GatewayStatus.model_validate(status)
    assert status["heldRequests"] == 10
    assert status["held"][0] == {"server": "a", "requests": 2}
    assert status["message"].endswith("10 requests wait for a, b, c and 2 more")
    assert build_gateway_status(inputs(held=HeldCounts({})))["heldRequests"] == 0
    assert "heldRequests" not in build_gateway_status(inputs())


def test_a_configuration_that_envoy_refuses_is_named() -> None:
    status = build_gateway_status(inputs(held=HeldCounts({}, refused=("listeners",))))
    GatewayStatus.model_validate(status)
    found = condition({"status": status}, "ConfigurationApplied")
    assert (found["status"], found["reason"]) == ("False", "ConfigurationRefused")
    assert status["message"].startswith("Envoy refuses the new listeners and keeps the former")
    assert status["phase"] == "Degraded"
    for counts, ready, expected in ((HeldCounts({}), 2, "True"), (HeldCounts({}), 0, "Unknown"), (None, 2, "Unknown")):
        status = build_gateway_status(inputs(held=counts, deployment=deployment(ready)))
        assert condition({"status": status}, "ConfigurationApplied")["status"] == expected


def test_the_same_inputs_give_the_same_status_later() -> None:
    first = build_gateway_status(inputs())
    assert build_gateway_status(inputs(previous=first, now=datetime(2027, 1, 1, tzinfo=UTC))) == first


def test_phases_follow_pods_models_and_references() -> None:
    for changes, phase in (
        ({"deployment": None}, "Pending"),
        ({"deployment": deployment(0)}, "Pending"),
        ({"deployment": deployment(1)}, "Degraded"),
        ({"endpoints": 0}, "Degraded"),
        ({"refused": ("x",)}, "Degraded"),
        ({"problems": (Problem("Bad", "spec.x: wrong"),), "deployment": None}, "Invalid"),
        ({"problems": (Problem("Bad", "spec.x: wrong"),)}, "Degraded"),
    ):
        assert build_gateway_status(inputs(**changes))["phase"] == phase


def test_a_refused_spec_names_the_field() -> None:
    status = build_gateway_status(inputs(problems=(Problem("Bad", "spec.x: wrong"),), resolution=None))
    found = condition({"status": status}, "Accepted")
    assert (found["status"], found["reason"], found["message"]) == ("False", "Bad", "spec.x: wrong")


def test_the_cause_of_missing_pods_is_that_of_the_deployment() -> None:
    broken = deployment(0)
    broken["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "quota exceeded"}]
    status = build_gateway_status(inputs(deployment=broken))
    assert condition({"status": status}, "Available")["message"] == "quota exceeded"


def test_events_report_changes_of_phase_and_new_refusals_once() -> None:
    before = build_gateway_status(inputs())
    after = build_gateway_status(inputs(refused=("the key x",)))
    assert [event[1] for event in gateway_events(before, after)] == ["GatewayDegraded", "ReferenceRefused"]
    assert gateway_events(after, after) == []
