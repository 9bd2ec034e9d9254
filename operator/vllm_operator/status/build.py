"""The whole status of a server, computed at once from what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.status import MAX_REPLICA_STATUSES, Phase
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.status.assessment import Assessment, describe
from vllm_operator.status.conditions import conditions, operator_unreachable_message
from vllm_operator.status.engine_info import engine_info

_TROUBLE = {"Failed", "CrashLooping", "Stalled", "Unknown"}
_STAGES: tuple[tuple[str, Phase], ...] = (
    ("Loading", "Loading"),
    ("Downloading", "Downloading"),
    ("Pulling", "Pending"),
    ("Scheduling", "Scheduling"),
)
"""Furthest first: that one decides when a server without any serving replica will serve."""


def build_status(assessment: Assessment) -> dict[str, Any]:
    """The status in camelCase, ready for the status subresource, without empty fields.

    Equal facts give equal statuses; and with this status as `facts.previous` the same observation gives it again,
    whatever the time.
    """
    inputs = assessment.inputs
    status = {
        "observedGeneration": inputs.generation,
        "phase": phase(assessment),
        "message": message(assessment),
        "ready": f"{len(assessment.serving)}/{assessment.rollout.wanted}",
        "replicas": assessment.rollout.replicas,
        "readyReplicas": assessment.rollout.ready,
        "healthyReplicas": len(assessment.serving),
        "updatedReplicas": assessment.rollout.updated,
        "selector": inputs.selector or None,
        "endpoint": inputs.endpoint or None,
        **engine_info(assessment),
        "stalledRestarts": list(inputs.stalled_restarts) or None,
        "replicaStatuses": [replica.as_status() for replica in assessment.replicas[:MAX_REPLICA_STATUSES]],
        "conditions": conditions(assessment),
    }
    return {field: value for field, value in status.items() if value is not None}


def needs_write(previous: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Whether the status has to be written: it says something else than the one that stands."""
    return dict(previous) != dict(current)


def phase(assessment: Assessment) -> Phase:
    """The server in one word. A refused manifest is `Invalid` only while nothing serves."""
    if assessment.inputs.paused:
        return "Paused"
    if assessment.inputs.problems and not assessment.serving:
        return "Invalid"
    if not assessment.rollout.exists:
        return "Pending"
    if not assessment.rollout.wanted:
        return "Idle"
    if assessment.serving:
        return "Serving" if assessment.has_enough_serving and not assessment.is_stuck else "Degraded"
    return _starting(assessment)


def _starting(assessment: Assessment) -> Phase:
    """The phase while nothing serves: the furthest stage of any replica; `Failed` when none is on its way."""
    if assessment.is_stuck or assessment.blocked:
        return "Failed"
    phases = {replica.phase for replica in assessment.replicas if not replica.ended}
    for stage, word in _STAGES:
        if stage in phases:
            return word
    return "Failed" if phases & _TROUBLE else "Pending"


def message(assessment: Assessment) -> str:
    """The server in one line, the most important cause first."""
    parts = [*_refusals(assessment), *_pause(assessment), _count(assessment), *_reason(assessment)]
    return one_line("; ".join(parts))


def _refusals(assessment: Assessment) -> list[str]:
    return [problem.message for problem in assessment.inputs.problems]


def _pause(assessment: Assessment) -> list[str]:
    return ["paused, nothing is changed until spec.paused is false"] if assessment.inputs.paused else []


def _count(assessment: Assessment) -> str:
    if not assessment.rollout.exists:
        return "no Deployment yet"
    if not assessment.rollout.wanted:
        return "no replica is wanted"
    words = f"{len(assessment.serving)}/{assessment.rollout.wanted} replicas serve"
    return f"{words}, {len(assessment.outdated)} of an older revision" if assessment.outdated else words


def _reason(assessment: Assessment) -> list[str]:
    """The worst replica, unless every wanted one serves and the rollout is done."""
    if not assessment.rollout.exists or assessment.is_complete:
        return []
    if assessment.worst:
        return [operator_unreachable_message(assessment) or describe(assessment.worst)]
    return [assessment.rollout.failure] if assessment.rollout.failure else []
