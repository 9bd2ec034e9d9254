from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.cli.findings import MOST_WARNINGS, event_findings, server_findings, title
from vllm_operator.cli.gathered import Gathered

CHILDREN = {"Deployment": {}, "Service": {}}


def server(conditions: dict[str, str], **status: Any) -> dict[str, Any]:
    """Return a server of the present generation whose conditions have these statuses."""
    entries = [
        {"type": kind, "status": value, "reason": f"{kind}Reason", "message": f"{kind} says why"}
        for kind, value in conditions.items()
    ]
    return {
        "metadata": {"name": "a", "namespace": "llm", "generation": 1},
        "spec": {},
        "status": {"observedGeneration": 1, "phase": "Failed", "conditions": entries, **status},
    }


def found(body: dict[str, Any], **parts: Any) -> list[tuple[str, str]]:
    state = Gathered(body, parts.pop("children", CHILDREN), **parts)
    return [(finding.level, finding.subject) for finding in server_findings(state)]


def test_ready_server_has_no_findings() -> None:
    assert found(server({"Ready": "True", "Accepted": "True", "Stalled": "False"})) == []


def test_refused_spec_is_a_problem_with_its_message() -> None:
    body = server({"Ready": "False", "Accepted": "False", "MonitoringActive": "False", "Stalled": "True"})
    [finding] = server_findings(Gathered(body, {}))
    assert (finding.level, finding.subject, finding.message) == (
        "problem",
        "Accepted (AcceptedReason)",
        "Accepted says why",
    )


def test_replicas_that_do_not_serve_are_named_with_their_cause() -> None:
    replicas = [
        {"pod": "a-1", "phase": "CrashLooping", "reason": "ContextTooLong", "message": "set maxModelLen"},
        {"pod": "a-2", "phase": "Loading", "reason": "LoadingWeights", "message": "loads"},
        {"pod": "a-3", "phase": "Unknown", "reason": "Timeout", "message": "no answer"},
        {"pod": "a-4", "phase": "Serving"},
    ]
    assert found(server({"Ready": "False", "Accepted": "True"}, replicaStatuses=replicas)) == [
        ("problem", "replica a-1"),
        ("warning", "replica a-2"),
        ("unknown", "replica a-3"),
    ]


def test_missing_metrics_warn() -> None:
    assert found(server({"Ready": "True", "AutoscalingActive": "False"})) == [
        ("warning", "AutoscalingActive (AutoscalingActiveReason)")
    ]


def test_unjudged_spec_is_a_problem() -> None:
    body = server({"Ready": "True"}, observedGeneration=-1)
    [finding] = server_findings(Gathered(body, CHILDREN))
    assert "has not judged this spec: is it running" in finding.message


def test_pause_deletion_and_missing_children_are_named() -> None:
    body = server({"Ready": "True", "Accepted": "True"})
    assert found(body, children={}) == [("problem", "Deployment"), ("problem", "Service")]
    body["spec"]["paused"] = True
    body["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
    findings = server_findings(Gathered(body, CHILDREN))
    assert [finding.subject for finding in findings] == ["deletion", "spec.paused"]
    assert "foregroundDeletion" in findings[0].message


def test_unready_server_without_another_cause_shows_its_message() -> None:
    [finding] = server_findings(Gathered(server({"Ready": "False", "Accepted": "True"}, message="waits"), CHILDREN))
    assert (finding.level, finding.message) == ("problem", "waits")


def test_unread_parts_are_unknown() -> None:
    assert found(server({"Ready": "True"}), unread=("no right to list pods",)) == [("unknown", "rights")]


def test_newest_warnings_among_events_are_shown() -> None:
    events = [{"type": "Warning", "reason": f"R{n}", "message": "m", "involvedObject": {"name": "a"}} for n in range(9)]
    findings = event_findings([{"type": "Normal"}, *events])
    assert [finding.message.partition(":")[0] for finding in findings] == [f"R{n}" for n in range(9)][-MOST_WARNINGS:]


@pytest.mark.parametrize("status", [{}, {"conditions": "x"}, {"replicaStatuses": {}}, {"conditions": [3]}])
def test_odd_statuses_are_read(status: dict[str, Any]) -> None:
    body = {"metadata": {"name": "a"}, "status": status}
    assert server_findings(Gathered(body, {}))


def test_title_names_namespace_name_and_phase() -> None:
    assert title(server({})) == "llm/a: Failed"
    assert title({"metadata": {"name": "a", "namespace": "b"}}) == "b/a: not judged yet"
