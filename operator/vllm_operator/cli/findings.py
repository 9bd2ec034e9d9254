"""Find out what is wrong with a server from its status and its objects, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vllm_operator.cli.gathered import Gathered, event_time
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import condition, field, is_judged, items, name_of, namespace_of, texts

Level = Literal["problem", "warning", "unknown"]

MOST_WARNINGS = 5
"""Events of one server that are shown; the newest ones."""

_CAUSED_BY_REPLICAS = {"Ready", "Available", "EngineHealthy", "Stalled", "Progressing"}
"""Conditions that repeat the cause of a replica or of another condition."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        level: `problem` for what keeps the server from serving as asked, `warning` for what may, `unknown` for what
            could not be found out.
        subject: the object or the condition.
        message: the cause and the remedy.
    """

    level: Level
    subject: str
    message: str

    def as_data(self) -> dict[str, str]:
        """Return the finding for JSON and YAML."""
        return asdict(self)


def server_findings(state: Gathered) -> list[Finding]:
    """Return what is wrong with a server, the most important first; nothing when it is Ready and nothing is odd."""
    server = state.server
    found = list(_judgement(server))
    found += _conditions(server)
    found += _replicas(server)
    if not found and condition(server, "Ready").get("status") != "True":
        message = clean(field(server, "status", "message")) or "the status has no message"
        found.append(Finding("problem", "status", message))
    found += _children(state)
    found += [Finding("unknown", "rights", message) for message in state.unread]
    return list(dict.fromkeys(found))


def _judgement(server: Mapping[str, Any]) -> Iterator[Finding]:
    if not is_judged(server):
        yield Finding(
            "problem",
            "status",
            "the operator has not judged this spec: is it running, and does it serve this namespace? kubectl vllm "
            "check --cluster shows it",
        )
    if field(server, "metadata", "deletionTimestamp"):
        finalizers = ", ".join(texts(server, "metadata", "finalizers"))
        wait = f"it waits for the finalizers {finalizers}" if finalizers else "its objects are being removed"
        yield Finding("warning", "deletion", f"the server is being deleted: {wait}")
    if field(server, "spec", "paused"):
        yield Finding("warning", "spec.paused", "the server is paused, so nothing is changed: kubectl vllm resume")


def _conditions(server: Mapping[str, Any]) -> Iterator[Finding]:
    for entry in items(server, "status", "conditions"):
        kind = clean(entry.get("type"), 64)
        if entry.get("status") != "False" or kind in _CAUSED_BY_REPLICAS:
            continue
        if kind == "MonitoringActive" and condition(server, "Accepted").get("status") == "False":
            # The operator creates the objects of monitoring once the spec is accepted.
            continue
        level: Level = "warning" if kind in {"MonitoringActive", "AutoscalingActive"} else "problem"
        yield Finding(level, f"{kind} ({clean(entry.get('reason'), 128)})", clean(entry.get("message")))


def _replicas(server: Mapping[str, Any]) -> Iterator[Finding]:
    for entry in items(server, "status", "replicaStatuses"):
        phase = clean(entry.get("phase"), 64)
        if phase in {"Serving", "Draining"}:
            continue
        starts = phase in {"Scheduling", "Pulling", "Downloading", "Loading"}
        reason = clean(entry.get("reason"), 128)
        level: Level = "unknown" if phase == "Unknown" else "warning" if starts else "problem"
        yield Finding(
            level, f"replica {clean(entry.get('pod'), 253)}", f"{phase} ({reason}): {clean(entry.get('message'))}"
        )


def _children(state: Gathered) -> Iterator[Finding]:
    if condition(state.server, "Accepted").get("status") == "True" and not field(state.server, "spec", "paused"):
        kinds = {"Deployment", "Service"} - set(state.children)
        for kind in sorted(kinds) if not state.unread else ():
            yield Finding("problem", kind, f"there is no {kind} of the server: is the operator running?")


def event_findings(events: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return the newest warnings among Events."""
    warnings = [event for event in events if event.get("type") == "Warning"][-MOST_WARNINGS:]
    return [
        Finding(
            "warning",
            f"Event on {clean(field(event, 'involvedObject', 'kind'), 64)} "
            f"{clean(field(event, 'involvedObject', 'name'), 253)}",
            f"{clean(event.get('reason'), 128)}: {clean(event.get('message'), 400)} (last at {event_time(event)})",
        )
        for event in warnings
    ]


def title(server: Mapping[str, Any]) -> str:
    """Return `namespace/name: phase`."""
    return (
        f"{namespace_of(server)}/{name_of(server)}: {clean(field(server, 'status', 'phase'), 64) or 'not judged yet'}"
    )
