"""Build the status of a server from its assessment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.problem import problem_messages
from vllm_operator.api.status import MAX_REPLICA_STATUSES, Phase
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.status.assessment import Assessment, describe, held_back_message
from vllm_operator.status.autoscaling import asleep_message
from vllm_operator.status.bounds import bounds_status
from vllm_operator.status.conditions import conditions, operator_unreachable_message
from vllm_operator.status.engine_info import engine_info
from vllm_operator.status.limits import within_limits

_FAILED_PHASES = {"Failed", "CrashLooping", "Stalled", "Unknown"}
_STARTING_PHASES: tuple[tuple[str, Phase], ...] = (
    ("Loading", "Loading"),
    ("Downloading", "Downloading"),
    ("Pulling", "Pending"),
    ("Scheduling", "Scheduling"),
)
"""Phase of a replica -> phase of the server. Furthest first: the furthest replica decides when the server serves."""


def build_status(assessment: Assessment) -> dict[str, Any]:
    """Return the status in camelCase, ready for the status subresource, without empty fields.

    Equal inputs give equal statuses. With this status as `inputs.previous`, the same observation gives it again at any
    later time.
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
        "sizing": dict(inputs.sizing) or None,
        "autoscaling": bounds_status(inputs),
        "heldRequests": inputs.held_requests or None,
        "stalledRestarts": list(inputs.stalled_restarts) or None,
        "replicaStatuses": [replica.as_status() for replica in assessment.replicas[:MAX_REPLICA_STATUSES]],
        "conditions": conditions(assessment),
    }
    return within_limits(status)


def needs_write(previous: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Return True when the status differs from the one in the cluster."""
    return dict(previous) != dict(current)


def phase(assessment: Assessment) -> Phase:
    """Return the phase of the server. A refused spec makes it `Invalid` only while no replica serves."""
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
    """Return the phase while no replica serves: the furthest of any replica; `Failed` when none can serve soon."""
    if assessment.is_stuck or assessment.blocked:
        return "Failed"
    phases = {replica.phase for replica in assessment.replicas if not replica.ended}
    for replica_phase, server_phase in _STARTING_PHASES:
        if replica_phase in phases:
            return server_phase
    return "Failed" if phases & _FAILED_PHASES else "Pending"


def message(assessment: Assessment) -> str:
    """Return the state of the server in one line, the most important cause first."""
    parts = [
        *problem_messages(assessment.inputs.problems),
        *_paused(assessment),
        _serving_count(assessment),
        *_cause(assessment),
    ]
    return one_line("; ".join(parts))


def _paused(assessment: Assessment) -> list[str]:
    if not assessment.inputs.paused:
        return []
    return [held_back_message(assessment.inputs) or "paused: the operator changes nothing until spec.paused is false"]


def _serving_count(assessment: Assessment) -> str:
    if not assessment.rollout.exists:
        return "no Deployment yet"
    if not assessment.rollout.wanted:
        return asleep_message(assessment.inputs) if assessment.inputs.asleep else "no replica is wanted"
    count = f"{len(assessment.serving)}/{assessment.rollout.wanted} replicas serve"
    return f"{count}, {len(assessment.outdated)} of an older revision" if assessment.outdated else count


def _cause(assessment: Assessment) -> list[str]:
    """Return the worst replica, unless every wanted one serves and the rollout is complete."""
    if not assessment.rollout.exists or assessment.is_complete:
        return []
    if assessment.worst:
        return [operator_unreachable_message(assessment) or describe(assessment.worst)]
    return [assessment.rollout.failure] if assessment.rollout.failure else []
