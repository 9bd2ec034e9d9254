"""The conditions of a VLLMServer: an ordered list of small judgements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm_operator.diagnosis.log_text import one_line, valid_reason
from vllm_operator.kube.fields import format_timestamp, get_list, get_str
from vllm_operator.status.assessment import Assessment, count_noun, describe_with_remedy
from vllm_operator.status.child_conditions import autoscaling_active, cache_ready, monitoring_active
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.replicas.replica import Replica

_ENGINE_TROUBLE = {"CrashLooping", "Stalled"}
_ENGINE_REASONS = {"HTTPError", "ModelNotServed"}
_UNREACHED = {"Timeout", "Unreachable"}


def accepted(assessment: Assessment) -> ConditionResult:
    """The manifest is valid and what it refers to exists."""
    problems = assessment.inputs.problems
    if problems:
        return ConditionResult("False", problems[0].reason, "; ".join(problem.message for problem in problems))
    return ConditionResult("True", "Valid", "; ".join(assessment.inputs.notes) or "the manifest is valid")


def progressing(assessment: Assessment) -> ConditionResult:
    """A rollout is under way; False when it is `Complete`, `Stuck`, or not begun because the manifest is refused."""
    rollout = assessment.rollout
    if not rollout.exists:
        return _not_begun(assessment)
    if rollout.complete:
        return ConditionResult(
            "False", "Complete", f"{count_noun(rollout.updated, 'replica')} of the wanted revision rolled out"
        )
    if assessment.is_stuck:
        when = " at the deadline" if rollout.stuck else ""
        return ConditionResult(
            "False", "Stuck", "; ".join(filter(None, [f"{_updated(assessment)}{when}", _way_out(assessment)]))
        )
    if rollout.ends:
        words = "the Deployment is being deleted, and is made anew when it is gone: what holds it are its finalizers"
        return ConditionResult("True", "Recreating", words)
    if not rollout.observed:
        return ConditionResult("True", "Starting", "the Deployment controller has not taken up the latest spec yet")
    return ConditionResult("True", "RollingOut", "; ".join(filter(None, [_updated(assessment), _way_out(assessment)])))


def _not_begun(assessment: Assessment) -> ConditionResult:
    if assessment.inputs.problems:
        return ConditionResult("False", "Refused", "nothing is rolled out until the manifest is accepted")
    if assessment.inputs.paused:
        return ConditionResult("False", "Paused", "nothing is rolled out until spec.paused is false")
    return ConditionResult("True", "Creating", "the Deployment is being created")


def _updated(assessment: Assessment) -> str:
    new = len(assessment.serving) - len(assessment.outdated)
    return f"{new} of {count_noun(assessment.rollout.wanted, 'replica')} of the wanted revision serving"


def _way_out(assessment: Assessment) -> str:
    if assessment.worst:
        return describe_with_remedy(assessment, assessment.worst)
    return assessment.rollout.failure


def available(assessment: Assessment) -> ConditionResult:
    """At least one replica serves, if only of an older revision."""
    if assessment.serving:
        return _serving(assessment)
    if any(replica.phase == "Unknown" and replica.ready for replica in assessment.replicas):
        return ConditionResult(
            "Unknown", "Unreachable", operator_unreachable_message(assessment) or _way_out(assessment)
        )
    if not assessment.rollout.wanted and assessment.rollout.exists:
        return ConditionResult("False", "Idle", "no replica is wanted: raise replicas to serve")
    return ConditionResult("False", "NoReplicaServes", _way_out(assessment) or "no replica exists yet")


def operator_unreachable_message(assessment: Assessment) -> str:
    """Return the message for replicas on several nodes that the kubelets call ready and no probe reaches; else empty.

    One replica or one node may be at fault itself; for several nodes at once the cause is more likely the network
    between the operator and them.
    """
    living = [replica for replica in assessment.replicas if not replica.ended]
    if not all(replica.ready and replica.reason in _UNREACHED for replica in living):
        return ""
    nodes = {replica.node for replica in living if replica.node}
    if len(nodes) < 2:
        return ""
    return (
        f"the operator reaches none of {len(living)} replicas on {len(nodes)} nodes, and Kubernetes calls all of them "
        "ready: look at the operator's own network, and for a NetworkPolicy that keeps it out"
    )


def _serving(assessment: Assessment) -> ConditionResult:
    serving, old = len(assessment.serving), len(assessment.outdated)
    if not old:
        return ConditionResult("True", "Serving", f"{count_noun(serving, 'replica')} serving")
    words = f"{old} of {count_noun(serving, 'serving replica')} of an older revision: {_revisions(assessment.outdated)}"
    return ConditionResult("True", "OlderRevision" if old == serving else "MixedRevisions", words)


def _revisions(replicas: tuple[Replica, ...]) -> str:
    """`7d4b5c6f9 (image vllm/vllm-openai:v0.31.0)`, for each revision among the replicas."""
    images = {replica.revision: replica.image for replica in replicas}
    return ", ".join(f"{name} (image {image})" if image else name for name, image in sorted(images.items()))


def engine_healthy(assessment: Assessment) -> ConditionResult:
    """No replica is stalled, crash-looping or lost its model; Unknown while no engine can be asked."""
    for replica in assessment.replicas:
        if replica.phase in _ENGINE_TROUBLE or (replica.phase == "Failed" and replica.reason in _ENGINE_REASONS):
            return ConditionResult("False", replica.reason, describe_with_remedy(assessment, replica))
    for replica in assessment.replicas:
        if replica.phase == "Unknown":
            return ConditionResult("Unknown", replica.reason, describe_with_remedy(assessment, replica))
    if assessment.serving:
        return ConditionResult("True", "Answering", "every engine that is up answers and lists its model")
    return ConditionResult("Unknown", "NoEngine", "no engine is up")


def stalled(assessment: Assessment) -> ConditionResult:
    """True only when nothing will happen without a person."""
    judged = accepted(assessment)
    if not judged.holds:
        return ConditionResult("True", judged.reason, judged.message)
    if assessment.is_stuck and not assessment.rollout.complete:
        return ConditionResult("True", "Stuck", progressing(assessment).message)
    if assessment.blocked and not assessment.is_complete:
        return ConditionResult("True", assessment.blocked.reason, describe_with_remedy(assessment, assessment.blocked))
    return ConditionResult("False", "NotStalled", "nothing waits for a person")


def ready(assessment: Assessment) -> ConditionResult:
    """The summary: accepted, the wanted revision rolled out, every wanted replica serves."""
    judged, progress = accepted(assessment), progressing(assessment)
    if not judged.holds:
        return ConditionResult("False", judged.reason, judged.message)
    if progress.reason != "Complete":
        return ConditionResult("False", progress.reason, progress.message)
    if not assessment.is_complete:
        return ConditionResult("False", *_missing(assessment))
    if not assessment.rollout.wanted:
        return ConditionResult("True", "Idle", "no replica is wanted")
    return ConditionResult("True", "Serving", f"{len(assessment.serving)}/{assessment.rollout.wanted} replicas serve")


def _missing(assessment: Assessment) -> tuple[str, str]:
    words = f"{len(assessment.serving)}/{assessment.rollout.wanted} replicas serve"
    if not assessment.worst:
        return "ReplicasMissing", f"{words}; {assessment.rollout.failure or 'the others are being created'}"
    return assessment.worst.reason, f"{words}; {describe_with_remedy(assessment, assessment.worst)}"


CONDITIONS: tuple[tuple[str, Callable[[Assessment], ConditionResult | None]], ...] = (
    ("Ready", ready),
    ("Accepted", accepted),
    ("Progressing", progressing),
    ("Available", available),
    ("EngineHealthy", engine_healthy),
    ("CacheReady", cache_ready),
    ("AutoscalingActive", autoscaling_active),
    ("MonitoringActive", monitoring_active),
    ("Stalled", stalled),
)
"""In the order in which the user reads them; a check that returns None has no condition."""


def conditions(assessment: Assessment) -> list[dict[str, Any]]:
    """The conditions as they are written, with the transition times of the previous status where nothing changed."""
    before = {get_str(entry, "type"): entry for entry in get_list(assessment.inputs.previous, "conditions")}
    now = format_timestamp(assessment.inputs.now)
    return [
        _written(kind, verdict, assessment.inputs.generation, before.get(kind), now)
        for kind, check in CONDITIONS
        if (verdict := check(assessment)) is not None
    ]


def _written(kind: str, verdict: ConditionResult, generation: int, before: object, now: str) -> dict[str, Any]:
    unchanged = get_str(before, "status") == verdict.status
    return {
        "type": kind,
        "status": verdict.status,
        "observedGeneration": generation,
        "reason": valid_reason(verdict.reason, "Other"),
        "message": one_line(verdict.message) or verdict.reason,
        "lastTransitionTime": (unchanged and get_str(before, "lastTransitionTime")) or now,
    }
