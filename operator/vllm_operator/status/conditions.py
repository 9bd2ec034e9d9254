"""The conditions of a VLLMServer: an ordered table of small checks of the assessment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm_operator.api.problem import problem_messages
from vllm_operator.diagnosis.log_text import one_line, valid_reason
from vllm_operator.kube.fields import format_timestamp, get_list, get_str
from vllm_operator.status.assessment import Assessment, count_noun, describe_with_remedy, held_back_message
from vllm_operator.status.autoscaling import asleep_message, autoscaling_active
from vllm_operator.status.child_conditions import cache_ready, monitoring_active
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.replicas.pod_states import INSUFFICIENT_GPU
from vllm_operator.status.replicas.replica import Replica

_UNHEALTHY_PHASES = {"CrashLooping", "Stalled"}
_UNHEALTHY_REASONS = {"HTTPError", "ModelNotServed"}
_SURGE_REMEDY = "rollout.maxSurge needs spare GPUs: free one, or set maxSurge: 0 and maxUnavailable: 1"
_UNREACHED_REASONS = {"Timeout", "Unreachable"}


def conditions(assessment: Assessment) -> list[dict[str, Any]]:
    """Return the conditions for the status; a transition time stays while the condition's status stays."""
    previous = {get_str(entry, "type"): entry for entry in get_list(assessment.inputs.previous, "conditions")}
    now = format_timestamp(assessment.inputs.now)
    return [
        _condition_entry(kind, result, assessment.inputs.generation, previous.get(kind), now)
        for kind, check in CONDITIONS
        if (result := check(assessment)) is not None
    ]


def _condition_entry(kind: str, result: ConditionResult, generation: int, previous: object, now: str) -> dict[str, Any]:
    unchanged = get_str(previous, "status") == result.status
    return {
        "type": kind,
        "status": result.status,
        "observedGeneration": generation,
        "reason": valid_reason(result.reason, "Other"),
        "message": one_line(result.message) or result.reason,
        "lastTransitionTime": (unchanged and get_str(previous, "lastTransitionTime")) or now,
    }


def ready(assessment: Assessment) -> ConditionResult:
    """Sum up: the spec is accepted, the wanted revision rolled out, and every wanted replica serves."""
    acceptance, rollout = accepted(assessment), progressing(assessment)
    if not acceptance.is_true:
        return ConditionResult("False", acceptance.reason, acceptance.message)
    if rollout.reason != "Complete":
        return ConditionResult("False", rollout.reason, rollout.message)
    if not assessment.is_complete:
        return ConditionResult("False", *_missing_replicas(assessment))
    if not assessment.rollout.wanted:
        return ConditionResult("True", "Idle", _idle_message(assessment))
    return ConditionResult("True", "Serving", _serving_count(assessment))


def _idle_message(assessment: Assessment) -> str:
    return asleep_message(assessment.inputs) if assessment.inputs.asleep else "no replica is wanted"


def _missing_replicas(assessment: Assessment) -> tuple[str, str]:
    count = _serving_count(assessment)
    if not assessment.worst:
        return "ReplicasMissing", f"{count}; {assessment.rollout.failure or 'Kubernetes creates the others'}"
    return assessment.worst.reason, f"{count}; {describe_with_remedy(assessment, assessment.worst)}"


def _serving_count(assessment: Assessment) -> str:
    return f"{len(assessment.serving)}/{assessment.rollout.wanted} replicas serve"


def accepted(assessment: Assessment) -> ConditionResult:
    """Check that the spec is valid and that the objects it refers to exist."""
    problems = assessment.inputs.problems
    if problems:
        return ConditionResult("False", problems[0].reason, "; ".join(problem_messages(problems)))
    return ConditionResult("True", "Valid", "; ".join(assessment.inputs.notes) or "the spec is valid")


def progressing(assessment: Assessment) -> ConditionResult:
    """Report a rollout; False when it is `Complete`, `Stuck`, or cannot begin (`Refused`, `Paused`)."""
    rollout = assessment.rollout
    if not rollout.exists:
        return _not_begun(assessment)
    if held := held_back_message(assessment.inputs):
        return ConditionResult("False", "Paused", held)
    if assessment.inputs.rolled_back:
        return ConditionResult("False", "RolledBack", _rolled_back(assessment))
    if assessment.inputs.is_held:
        message = "the change of the pods waits until the only replica runs no request (rollout.waitForIdle)"
        return ConditionResult("True", "WaitingForIdle", message)
    if rollout.complete:
        message = f"{count_noun(rollout.updated, 'replica')} of the wanted revision rolled out"
        return ConditionResult("False", "Complete", message)
    if assessment.is_stuck:
        deadline = " at the deadline" if rollout.stuck else ""
        return ConditionResult("False", "Stuck", _join(f"{_updated_count(assessment)}{deadline}", _cause(assessment)))
    if rollout.is_deleting:
        message = (
            "the Deployment is being deleted, and the operator creates it again when it is gone: "
            "its finalizers hold it until then"
        )
        return ConditionResult("True", "Recreating", message)
    if not rollout.observed:
        return ConditionResult("True", "Starting", "the Deployment controller has not observed the latest spec yet")
    if waiting := _without_gpu(assessment):
        message = f"{describe_with_remedy(assessment, waiting)}; {_SURGE_REMEDY}"
        return ConditionResult("True", "RolloutBlocked", _join(_updated_count(assessment), message))
    return ConditionResult("True", "RollingOut", _join(_updated_count(assessment), _cause(assessment)))


def _without_gpu(assessment: Assessment) -> Replica | None:
    """Return the new replica that finds no GPU while all older ones serve and none stops, which would free one."""
    living = [replica for replica in assessment.replicas if not replica.ended]
    if not assessment.outdated or any(replica.phase == "Draining" for replica in living):
        return None
    return next((r for r in living if r.reason == INSUFFICIENT_GPU and r.revision == assessment.rollout.revision), None)


def _rolled_back(assessment: Assessment) -> str:
    return (
        f"the replicas of the spec failed, so those that served before are back ({assessment.inputs.rolled_back}); "
        "correct the spec: it is tried again when it changes the pods"
    )


def _not_begun(assessment: Assessment) -> ConditionResult:
    if assessment.inputs.problems:
        return ConditionResult("False", "Refused", "the operator rolls nothing out until the spec is accepted")
    if assessment.inputs.paused:
        return ConditionResult("False", "Paused", "the operator rolls nothing out until spec.paused is false")
    return ConditionResult("True", "Creating", "the operator creates the Deployment")


def _updated_count(assessment: Assessment) -> str:
    updated = len(assessment.serving) - len(assessment.outdated)
    return f"{updated} of {count_noun(assessment.rollout.wanted, 'replica')} of the wanted revision serving"


def _cause(assessment: Assessment) -> str:
    """Return the worst replica with its remedy, else why no pod can be created; empty without both."""
    if assessment.worst:
        return describe_with_remedy(assessment, assessment.worst)
    return assessment.rollout.failure


def _join(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def available(assessment: Assessment) -> ConditionResult:
    """Check that at least one replica serves, of whatever revision."""
    if assessment.serving:
        return _serving(assessment)
    if any(replica.phase == "Unknown" and replica.ready for replica in assessment.replicas):
        message = operator_unreachable_message(assessment) or _cause(assessment)
        return ConditionResult("Unknown", "Unreachable", message)
    if not assessment.rollout.wanted and assessment.rollout.exists:
        remedy = "" if assessment.inputs.asleep else ": raise replicas to serve"
        return ConditionResult("False", "Idle", f"{_idle_message(assessment)}{remedy}")
    return ConditionResult("False", "NoReplicaServes", _cause(assessment) or "no replica exists yet")


def operator_unreachable_message(assessment: Assessment) -> str:
    """Return the message for replicas on several nodes that the kubelets call ready and no probe reaches; else empty.

    One replica or one node may be at fault itself. For several nodes at once, the cause is more likely the network
    between the operator and them.
    """
    living = [replica for replica in assessment.replicas if not replica.ended]
    if not all(replica.ready and replica.reason in _UNREACHED_REASONS for replica in living):
        return ""
    nodes = {replica.node for replica in living if replica.node}
    if len(nodes) < 2:
        return ""
    return (
        f"the operator reaches none of {len(living)} replicas on {len(nodes)} nodes, and Kubernetes calls all of them "
        "ready: check the operator's own network, and look for a NetworkPolicy that keeps the operator out"
    )


def _serving(assessment: Assessment) -> ConditionResult:
    serving, outdated = len(assessment.serving), len(assessment.outdated)
    if not outdated:
        return ConditionResult("True", "Serving", f"{count_noun(serving, 'replica')} serving")
    count = f"{outdated} of {count_noun(serving, 'serving replica')} of an older revision"
    reason = "OlderRevision" if outdated == serving else "MixedRevisions"
    return ConditionResult("True", reason, f"{count}: {_revisions(assessment.outdated)}")


def _revisions(replicas: tuple[Replica, ...]) -> str:
    """Return `7d4b5c6f9 (image vllm/vllm-openai:v0.31.0)` for each revision among the replicas."""
    images = {replica.revision: replica.image for replica in replicas}
    return ", ".join(f"{name} (image {image})" if image else name for name, image in sorted(images.items()))


def engine_healthy(assessment: Assessment) -> ConditionResult:
    """Check that no replica is stalled, crash-looping or without its model; Unknown while no engine can be probed."""
    for replica in assessment.replicas:
        if _is_unhealthy(replica):
            return ConditionResult("False", replica.reason, describe_with_remedy(assessment, replica))
    for replica in assessment.replicas:
        if replica.phase == "Unknown":
            return ConditionResult("Unknown", replica.reason, describe_with_remedy(assessment, replica))
    if assessment.serving:
        return ConditionResult("True", "Answering", "every engine that is up answers and lists its model")
    return ConditionResult("Unknown", "NoEngine", "no engine is up")


def _is_unhealthy(replica: Replica) -> bool:
    return replica.phase in _UNHEALTHY_PHASES or (replica.phase == "Failed" and replica.reason in _UNHEALTHY_REASONS)


def stalled(assessment: Assessment) -> ConditionResult:
    """Report that nothing can progress until a person acts; kstatus reads this condition as a failure."""
    acceptance = accepted(assessment)
    if not acceptance.is_true:
        return ConditionResult("True", acceptance.reason, acceptance.message)
    if assessment.inputs.rolled_back:
        return ConditionResult("True", "RolledBack", _rolled_back(assessment))
    if assessment.is_stuck and not assessment.rollout.complete:
        return ConditionResult("True", "Stuck", progressing(assessment).message)
    if assessment.blocked and not assessment.is_complete:
        message = describe_with_remedy(assessment, assessment.blocked)
        return ConditionResult("True", assessment.blocked.reason, message)
    if held := held_back_message(assessment.inputs):
        return ConditionResult("False", "Paused", held)
    return ConditionResult("False", "NotStalled", "nothing waits for a person to act")


CONDITIONS: tuple[tuple[str, Callable[[Assessment], ConditionResult | None]], ...] = (
    ("Ready", ready),  # accepted, rolled out, and every wanted replica serves
    ("Accepted", accepted),  # the spec is valid, and what it refers to exists
    ("Progressing", progressing),  # a rollout is under way
    ("Available", available),  # at least one replica serves
    ("EngineHealthy", engine_healthy),  # no engine is stalled, crash-looping or without its model
    ("CacheReady", cache_ready),  # the claim is bound, a downloaded model was served; absent without a cache
    ("AutoscalingActive", autoscaling_active),  # the autoscaler computes; absent without one
    ("MonitoringActive", monitoring_active),  # scraping and alerts are configured; absent when neither is wanted
    ("Stalled", stalled),  # nothing progresses until a person acts
)
"""In the order in which the user reads them. A check that returns None has no condition."""
