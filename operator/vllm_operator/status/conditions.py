"""The conditions of a VLLMServer: an ordered list of small judgements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm_operator.diagnosis.log_text import line, reason
from vllm_operator.kube.fields import get_list, get_str, timestamp
from vllm_operator.status.assessment import Assessment, counted, told_with_way_out
from vllm_operator.status.child_conditions import autoscaling_active, cache_ready, monitoring_active
from vllm_operator.status.reach import cut_off
from vllm_operator.status.replicas.replica import Replica
from vllm_operator.status.verdict import ConditionResult

_ENGINE_TROUBLE = {"CrashLooping", "Stalled"}
_ENGINE_REASONS = {"HTTPError", "ModelNotServed"}


def accepted(view: Assessment) -> ConditionResult:
    """The manifest is valid and what it refers to exists."""
    problems = view.facts.problems
    if problems:
        return ConditionResult("False", problems[0].reason, "; ".join(problem.message for problem in problems))
    return ConditionResult("True", "Valid", "; ".join(view.facts.notes) or "the manifest is valid")


def progressing(view: Assessment) -> ConditionResult:
    """A rollout is under way; False when it is `Complete`, `Stuck`, or not begun because the manifest is refused."""
    rollout = view.rollout
    if not rollout.exists:
        return _not_begun(view)
    if rollout.complete:
        return ConditionResult(
            "False", "Complete", f"{counted(rollout.updated, 'replica')} of the wanted revision rolled out"
        )
    if view.stuck:
        when = " at the deadline" if rollout.stuck else ""
        return ConditionResult("False", "Stuck", "; ".join(filter(None, [f"{_updated(view)}{when}", _way_out(view)])))
    if rollout.ends:
        words = "the Deployment is being deleted, and is made anew when it is gone: what holds it are its finalizers"
        return ConditionResult("True", "Recreating", words)
    if not rollout.observed:
        return ConditionResult("True", "Starting", "the Deployment controller has not taken up the latest spec yet")
    return ConditionResult("True", "RollingOut", "; ".join(filter(None, [_updated(view), _way_out(view)])))


def _not_begun(view: Assessment) -> ConditionResult:
    if view.facts.problems:
        return ConditionResult("False", "Refused", "nothing is rolled out until the manifest is accepted")
    if view.facts.paused:
        return ConditionResult("False", "Paused", "nothing is rolled out until spec.paused is false")
    return ConditionResult("True", "Creating", "the Deployment is being created")


def _updated(view: Assessment) -> str:
    new = len(view.serving) - len(view.outdated)
    return f"{new} of {counted(view.rollout.wanted, 'replica')} of the wanted revision serving"


def _way_out(view: Assessment) -> str:
    if view.cause:
        return told_with_way_out(view.cause)
    return view.rollout.failure


def available(view: Assessment) -> ConditionResult:
    """At least one replica serves, if only of an older revision."""
    if view.serving:
        return _serving(view)
    if any(replica.phase == "Unknown" and replica.ready for replica in view.replicas):
        return ConditionResult("Unknown", "Unreachable", cut_off(view) or _way_out(view))
    if not view.rollout.wanted and view.rollout.exists:
        return ConditionResult("False", "Idle", "no replica is wanted: raise replicas to serve")
    return ConditionResult("False", "NoReplicaServes", _way_out(view) or "no replica exists yet")


def _serving(view: Assessment) -> ConditionResult:
    serving, old = len(view.serving), len(view.outdated)
    if not old:
        return ConditionResult("True", "Serving", f"{counted(serving, 'replica')} serving")
    words = f"{old} of {counted(serving, 'serving replica')} of an older revision: {_revisions(view.outdated)}"
    return ConditionResult("True", "OlderRevision" if old == serving else "MixedRevisions", words)


def _revisions(replicas: tuple[Replica, ...]) -> str:
    """`7d4b5c6f9 (image vllm/vllm-openai:v0.31.0)`, for each revision among the replicas."""
    images = {replica.revision: replica.image for replica in replicas}
    return ", ".join(f"{name} (image {image})" if image else name for name, image in sorted(images.items()))


def engine_healthy(view: Assessment) -> ConditionResult:
    """No replica is stalled, crash-looping or lost its model; Unknown while no engine can be asked."""
    for replica in view.replicas:
        if replica.phase in _ENGINE_TROUBLE or (replica.phase == "Failed" and replica.reason in _ENGINE_REASONS):
            return ConditionResult("False", replica.reason, told_with_way_out(replica))
    for replica in view.replicas:
        if replica.phase == "Unknown":
            return ConditionResult("Unknown", replica.reason, told_with_way_out(replica))
    if view.serving:
        return ConditionResult("True", "Answering", "every engine that is up answers and lists its model")
    return ConditionResult("Unknown", "NoEngine", "no engine is up")


def stalled(view: Assessment) -> ConditionResult:
    """True only when nothing will happen without a person."""
    judged = accepted(view)
    if not judged.holds:
        return ConditionResult("True", judged.reason, judged.message)
    if view.stuck and not view.rollout.complete:
        return ConditionResult("True", "Stuck", progressing(view).message)
    if view.blocked and not view.whole:
        return ConditionResult("True", view.blocked.reason, told_with_way_out(view.blocked))
    return ConditionResult("False", "NotStalled", "nothing waits for a person")


def ready(view: Assessment) -> ConditionResult:
    """The summary: accepted, the wanted revision rolled out, every wanted replica serves."""
    judged, progress = accepted(view), progressing(view)
    if not judged.holds:
        return ConditionResult("False", judged.reason, judged.message)
    if progress.reason != "Complete":
        return ConditionResult("False", progress.reason, progress.message)
    if not view.whole:
        return ConditionResult("False", *_missing(view))
    if not view.rollout.wanted:
        return ConditionResult("True", "Idle", "no replica is wanted")
    return ConditionResult("True", "Serving", f"{len(view.serving)}/{view.rollout.wanted} replicas serve")


def _missing(view: Assessment) -> tuple[str, str]:
    words = f"{len(view.serving)}/{view.rollout.wanted} replicas serve"
    if not view.cause:
        return "ReplicasMissing", f"{words}; {view.rollout.failure or 'the others are being created'}"
    return view.cause.reason, f"{words}; {told_with_way_out(view.cause)}"


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


def conditions(view: Assessment) -> list[dict[str, Any]]:
    """The conditions as they are written, with the transition times of the previous status where nothing changed."""
    before = {get_str(entry, "type"): entry for entry in get_list(view.facts.previous, "conditions")}
    now = timestamp(view.facts.now)
    return [
        _written(kind, verdict, view.facts.generation, before.get(kind), now)
        for kind, check in CONDITIONS
        if (verdict := check(view)) is not None
    ]


def _written(kind: str, verdict: ConditionResult, generation: int, before: object, now: str) -> dict[str, Any]:
    unchanged = get_str(before, "status") == verdict.status
    return {
        "type": kind,
        "status": verdict.status,
        "observedGeneration": generation,
        "reason": reason(verdict.reason, "Other"),
        "message": line(verdict.message) or verdict.reason,
        "lastTransitionTime": (unchanged and get_str(before, "lastTransitionTime")) or now,
    }
