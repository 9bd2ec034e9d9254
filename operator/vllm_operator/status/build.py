"""The whole status of a server, computed at once from what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.status import MAX_REPLICA_STATUSES, Phase
from vllm_operator.diagnosis.log_text import line
from vllm_operator.status.assessment import Assessment, told, view
from vllm_operator.status.conditions import conditions
from vllm_operator.status.engine_info import engine_facts
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.reach import cut_off

_TROUBLE = {"Failed", "CrashLooping", "Stalled", "Unknown"}
_STAGES: tuple[tuple[str, Phase], ...] = (
    ("Loading", "Loading"),
    ("Downloading", "Downloading"),
    ("Pulling", "Pending"),
    ("Scheduling", "Scheduling"),
)
"""Furthest first: that one decides when a server without any serving replica will serve."""


def build_status(facts: StatusInputs) -> dict[str, Any]:
    """The status in camelCase, ready for the status subresource, without empty fields.

    Equal facts give equal statuses; and with this status as `facts.previous` the same observation gives it again,
    whatever the time.
    """
    seen = view(facts)
    status = {
        "observedGeneration": facts.generation,
        "phase": phase(seen),
        "message": message(seen),
        "ready": f"{len(seen.serving)}/{seen.rollout.wanted}",
        "replicas": seen.rollout.replicas,
        "readyReplicas": seen.rollout.ready,
        "healthyReplicas": len(seen.serving),
        "updatedReplicas": seen.rollout.updated,
        "selector": facts.selector or None,
        "endpoint": facts.endpoint or None,
        **engine_facts(seen),
        "stalledRestarts": list(facts.restarts) or None,
        "replicaStatuses": [replica.as_status() for replica in seen.replicas[:MAX_REPLICA_STATUSES]],
        "conditions": conditions(seen),
    }
    return {field: value for field, value in status.items() if value is not None}


def needs_write(previous: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether the status has to be written: it says something else than the one that stands."""
    return dict(previous) != dict(current)


def phase(seen: Assessment) -> Phase:
    """The server in one word. A refused manifest is `Invalid` only while nothing serves."""
    if seen.facts.paused:
        return "Paused"
    if seen.facts.problems and not seen.serving:
        return "Invalid"
    if not seen.rollout.exists:
        return "Pending"
    if not seen.rollout.wanted:
        return "Idle"
    if seen.serving:
        return "Serving" if seen.enough and not seen.stuck else "Degraded"
    return _starting(seen)


def _starting(seen: Assessment) -> Phase:
    """The phase while nothing serves: the furthest stage of any replica; `Failed` when none is on its way."""
    if seen.stuck or seen.blocked:
        return "Failed"
    phases = {replica.phase for replica in seen.replicas if not replica.gone}
    for stage, word in _STAGES:
        if stage in phases:
            return word
    return "Failed" if phases & _TROUBLE else "Pending"


def message(seen: Assessment) -> str:
    """The server in one line, the most important cause first."""
    parts = [*_refusals(seen), *_pause(seen), _count(seen), *_reason(seen)]
    return line("; ".join(parts))


def _refusals(seen: Assessment) -> list[str]:
    return [problem.message for problem in seen.facts.problems]


def _pause(seen: Assessment) -> list[str]:
    return ["paused, nothing is changed until spec.paused is false"] if seen.facts.paused else []


def _count(seen: Assessment) -> str:
    if not seen.rollout.exists:
        return "no Deployment yet"
    if not seen.rollout.wanted:
        return "no replica is wanted"
    words = f"{len(seen.serving)}/{seen.rollout.wanted} replicas serve"
    return f"{words}, {len(seen.outdated)} of an older revision" if seen.outdated else words


def _reason(seen: Assessment) -> list[str]:
    """The worst replica, unless every wanted one serves and the rollout is done."""
    if not seen.rollout.exists or seen.whole:
        return []
    if seen.cause:
        return [cut_off(seen) or told(seen.cause)]
    return [seen.rollout.failure] if seen.rollout.failure else []
