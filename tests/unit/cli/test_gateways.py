from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from vllm_operator.cli.gateways import gateway_findings, gateway_tree, is_gateway_name


def row(name: str, status: str, reason: str = "Why", message: str = "because") -> dict[str, Any]:
    return {"type": name, "status": status, "reason": reason, "message": message, "observedGeneration": 2}


def gateway(*conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    rows = {"Accepted": row("Accepted", "True"), "Ready": row("Ready", "True")}
    rows |= {condition["type"]: condition for condition in conditions}
    return {
        "metadata": {"namespace": "llm", "name": "chat", "generation": 2},
        "spec": {},
        "status": {
            "observedGeneration": 2,
            "phase": "Serving",
            "message": "2/2 pods are ready",
            "ready": "2/2",
            "address": "http://chat-gateway.llm.svc",
            "conditions": list(rows.values()),
            "models": [{"name": "tiny", "servers": ["tiny"], "readyEndpoints": 1}],
            **status,
        },
    }


def shown(body: dict[str, Any]) -> str:
    screen = Console(width=200)
    with screen.capture() as captured:
        screen.print(gateway_tree(body))
    return captured.get()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vllmgateway/chat", True), ("VLLMGateway/chat", True), ("vllmgw/chat", True), ("chat", False), ("a/b", False)],
)
def test_gateways_are_named_with_their_kind(name: str, expected: bool) -> None:
    assert is_gateway_name(name) is expected


def test_a_gateway_that_serves_has_no_findings() -> None:
    assert gateway_findings(gateway()) == []


def test_findings_name_what_is_wrong() -> None:
    body = gateway(
        row("Accepted", "False", "NameTaken", "the ConfigMap exists"),
        row("Available", "False", "NoPodReady", "quota exceeded"),
        row("Exposed", "Unknown", "WaitingForGateway", "nobody answered"),
        row("ConfigurationApplied", "False", "ConfigurationRefused", "Envoy refuses the new lds"),
        row("Ready", "False"),
        refusedReferences=["the Secret keys is not released"],
        models=[{"name": "big", "servers": ["big"], "readyEndpoints": 0}],
    )
    found = {(finding.level, finding.subject): finding.message for finding in gateway_findings(body)}
    assert found == {
        ("problem", "Accepted (NameTaken)"): "the ConfigMap exists",
        ("problem", "Available (NoPodReady)"): "quota exceeded",
        ("problem", "ConfigurationApplied (ConfigurationRefused)"): "Envoy refuses the new lds",
        ("unknown", "Exposed (WaitingForGateway)"): "nobody answered",
        ("problem", "reference"): "the Secret keys is not released",
        ("warning", "model big"): "no replica is ready: requests wait",
    }


def test_a_gateway_that_nobody_judged_and_one_without_a_cause_are_problems() -> None:
    stale = gateway(observedGeneration=1)
    assert "has not judged this spec" in gateway_findings(stale)[0].message
    assert gateway_findings(gateway(row("Ready", "False")))[0].message == "2/2 pods are ready"


def test_the_tree_shows_models_and_what_waits() -> None:
    held = [{"server": "tiny", "requests": 3}]
    text = shown(gateway(heldRequests=3, held=held, keys=4, refusedReferences=["no such server x"]))
    for part in (
        "llm/chat (gateway)  Serving  2/2 pods are ready",
        "address: http://chat-gateway.llm.svc/v1",
        "API keys: 4",
        "requests that wait: 3 (3 for tiny)",
        "tiny: 1 ready replicas of tiny",
        "refused: no such server x",
    ):
        assert part in text
    assert "requests that wait: unknown" in shown(gateway())


@pytest.mark.parametrize("status", [{"models": 5}, {"conditions": "x"}, {"held": [1]}, {"message": ["\x1b[31m"]}])
def test_statuses_of_any_shape_are_shown(status: dict[str, Any]) -> None:
    shown({**gateway(), "status": {**gateway()["status"], **status}})
    gateway_findings({**gateway(), "status": {**gateway()["status"], **status}})
