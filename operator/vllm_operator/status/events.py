"""Derive Events for `kubectl describe` from changes of the status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vllm_operator.status.replicas.engine_states import ENGINE_STALLED

Conditions = Mapping[str, Mapping[str, Any]]
"""Type -> condition."""


@dataclass(frozen=True)
class StatusEvent:
    """An Event to record."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


def status_events(previous: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[StatusEvent, ...]:
    """Return the Events for the changes between two statuses; none when only numbers changed."""
    before, after = _conditions(previous), _conditions(current)
    of_conditions = (event for rule in RULES for event in rule(before, after))
    return (*of_conditions, *_stalled_engines(previous, current))


def _acceptance(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    accepted = after.get("Accepted", {})
    if accepted.get("status") == "False" and _content(before, "Accepted") != _content(after, "Accepted"):
        yield StatusEvent("Warning", accepted["reason"], accepted["message"])
    if accepted.get("status") == "True" and before.get("Accepted", {}).get("status") == "False":
        yield StatusEvent("Normal", "Accepted", "the operator accepts the spec again")


def _availability(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("Available", {}), before.get("Available", {})
    if now.get("status") == "True" and then.get("status") != "True":
        yield StatusEvent("Normal", "Available", now["message"])
    if now.get("status") == "False" and then.get("status") == "True":
        # A stalled or failed engine has its own Event.
        engine_has_event = after.get("EngineHealthy", {}).get("status") == "False"
        yield StatusEvent("Warning", "Unavailable", "no replica serves" if engine_has_event else now["message"])


def _rollout(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("Progressing", {}), before.get("Progressing", {})
    if now.get("reason") == then.get("reason"):
        return
    if now.get("reason") == "Complete" and then:
        yield StatusEvent("Normal", "RolledOut", now["message"])
    if now.get("reason") == "RolloutBlocked":
        yield StatusEvent("Warning", "RolloutBlocked", now["message"])
    if now.get("reason") == "RolledBack":
        yield StatusEvent("Warning", "RolledBack", now["message"])
    if now.get("reason") == "Stuck":
        yield StatusEvent("Warning", "RolloutStuck", now["message"])


def _engine_health(before: Conditions, after: Conditions) -> Iterator[StatusEvent]:
    now, then = after.get("EngineHealthy", {}), before.get("EngineHealthy", {})
    if now.get("reason") == ENGINE_STALLED:
        return  # each stalled replica has its own Event
    if now.get("status") == "False" and (then.get("status"), then.get("reason")) != ("False", now.get("reason")):
        yield StatusEvent("Warning", now["reason"], now["message"])


def _stalled_engines(previous: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[StatusEvent]:
    """Yield an Event for each engine that stalled or recovered; `Remediator` records the deletion of a pod."""
    before, after = _replicas(previous), _replicas(current)
    for pod, entry in after.items():
        was_stalled = before.get(pod, {}).get("reason") == ENGINE_STALLED
        if entry.get("reason") == ENGINE_STALLED and not was_stalled:
            yield StatusEvent("Warning", ENGINE_STALLED, f"{pod}: {entry.get('message', '')}")
        if was_stalled and entry.get("phase") == "Serving":
            yield StatusEvent("Normal", "EngineRecovered", f"{pod}: the engine answers again")


def _replicas(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["pod"]: entry for entry in status.get("replicaStatuses") or () if "pod" in entry}


RULES = (
    _acceptance,  # the spec is refused, or accepted again
    _availability,  # the first replica serves, or none does any more
    _rollout,  # a rollout is complete, or stuck
    _engine_health,  # an engine fails
)


def _conditions(status: Mapping[str, Any]) -> Conditions:
    return {condition["type"]: condition for condition in status.get("conditions") or () if "type" in condition}


def _content(conditions: Conditions, name: str) -> tuple[Any, Any, Any]:
    condition = conditions.get(name, {})
    return condition.get("status"), condition.get("reason"), condition.get("message")
