from __future__ import annotations

from typing import Any

from vllm_operator.gateway.exposure_state import missing_crds, not_exposed, route_state
from vllm_operator.kube.kinds import HTTP_ROUTE, INFERENCE_POOL


def parent(name: str, *rows: tuple[str, str], generation: int | None = 3) -> dict[str, Any]:
    conditions = [
        {"type": kind, "status": status, "reason": "Why", "message": "because", "observedGeneration": generation}
        for kind, status in rows
    ]
    return {"parentRef": {"name": name}, "conditions": conditions}


def state(*parents: dict[str, Any], wanted: int = 1) -> tuple[str, str]:
    found = route_state({"metadata": {"generation": 3}, "status": {"parents": list(parents)}}, wanted, "")
    return found.status, found.reason


def test_a_route_is_exposed_once_each_parent_has_accepted_this_generation() -> None:
    accepted = parent("a", ("Accepted", "True"), ("ResolvedRefs", "True"))
    assert state(accepted) == ("True", "RouteAccepted")
    assert state(accepted, wanted=2) == ("Unknown", "WaitingForGateway")
    assert state() == ("Unknown", "WaitingForGateway")
    assert state(parent("a", ("Accepted", "True"), generation=2)) == ("Unknown", "WaitingForGateway")
    assert state(parent("a", ("Accepted", "True"), generation=None)) == ("True", "RouteAccepted")


def test_a_refusal_of_this_generation_is_named() -> None:
    assert state(parent("a", ("Accepted", "False"))) == ("False", "RouteRefused")
    assert state(parent("a", ("Accepted", "True"), ("ResolvedRefs", "False"))) == ("False", "RouteRefused")
    assert state(parent("a", ("Accepted", "False"), generation=2)) == ("Unknown", "WaitingForGateway")
    assert state(parent("a", ("PartiallyInvalid", "False"))) == ("Unknown", "WaitingForGateway")


def test_statuses_of_any_shape_are_unknown() -> None:
    for odd in ({}, {"status": None}, {"status": {"parents": "x"}}, {"status": {"parents": [1, {"conditions": 5}]}}):
        assert route_state(odd, 1, "").status == "Unknown"


def test_missing_kinds_and_pools_are_named() -> None:
    found = not_exposed([missing_crds(HTTP_ROUTE), missing_crds(INFERENCE_POOL)])
    assert (found.status, found.reason) == ("False", "CRDMissing")
    assert "inference.networking.k8s.io/v1" in found.message
    assert route_state(None, 0, "InferencePool").status == "True"
