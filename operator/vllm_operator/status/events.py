"""What a person would want to read in `kubectl describe`: changes of conditions, never one per pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vllm_operator.status.replicas.engine_states import ENGINE_STALLED


@dataclass(frozen=True)
class StatusEvent:
    """An event to record."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def status_events(previous: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[StatusEvent, ...]:
    """The events that lie between two statuses; none when only numbers changed."""
    before, after = _conditions(previous), _conditions(current)
    told = tuple(notice for rule in RULES for notice in rule(before, after))
    return (*told, *_stalled_engines(previous, current))


Conditions = Mapping[str, Mapping[str, Any]]


def _refused(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    accepted = after.get("Accepted", {})
    if accepted.get("status") == "False" and _content(before, "Accepted") != _content(after, "Accepted"):
        yield StatusEvent("Warning", accepted["reason"], accepted["message"])
    if accepted.get("status") == "True" and before.get("Accepted", {}).get("status") == "False":
        yield StatusEvent("Normal", "Accepted", "the manifest is accepted again")


def _available(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("Available", {}), before.get("Available", {})
    if now.get("status") == "True" and then.get("status") != "True":
        yield StatusEvent("Normal", "Available", now["message"])
    if now.get("status") == "False" and then.get("status") == "True":
        # What is wrong with an engine is an event of its own.
        told = after.get("EngineHealthy", {}).get("status") == "False"
        yield StatusEvent("Warning", "Unavailable", "no replica serves" if told else now["message"])


def _rolled_out(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("Progressing", {}), before.get("Progressing", {})
    if now.get("reason") == then.get("reason"):
        return
    if now.get("reason") == "Complete" and then:
        yield StatusEvent("Normal", "RolledOut", now["message"])
    if now.get("reason") == "Stuck":
        yield StatusEvent("Warning", "RolloutStuck", now["message"])


def _engine(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("EngineHealthy", {}), before.get("EngineHealthy", {})
    if now.get("reason") == ENGINE_STALLED:
        return  # told for each replica
    if now.get("status") == "False" and (then.get("status"), then.get("reason")) != ("False", now.get("reason")):
        yield StatusEvent("Warning", now["reason"], now["message"])


def _stalled_engines(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[StatusEvent]:
    """Each replica whose engine froze, or went on by itself; one that was deleted meanwhile is told by who did it."""
    before, after = _replicas(previous), _replicas(current)
    for pod, entry in after.items():
        was = before.get(pod, {}).get("reason") == ENGINE_STALLED
        if entry.get("reason") == ENGINE_STALLED and not was:
            yield StatusEvent("Warning", ENGINE_STALLED, f"{pod}: {entry.get('message', '')}")
        if was and entry.get("phase") == "Serving":
            yield StatusEvent("Normal", "EngineRecovered", f"{pod}: the engine answers again")


def _replicas(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["pod"]: entry for entry in status.get("replicaStatuses") or () if "pod" in entry}


RULES = (_refused, _available, _rolled_out, _engine)


def _conditions(status: Mapping[str, Any]) -> Conditions:
    return {condition["type"]: condition for condition in status.get("conditions") or () if "type" in condition}


def _content(conditions: Conditions, name: str) -> tuple[Any, Any, Any]:
    condition = conditions.get(name, {})
    return condition.get("status"), condition.get("reason"), condition.get("message")
