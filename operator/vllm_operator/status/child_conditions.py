"""Checks of the children behind conditions: the claim of the cache, the autoscaler, monitoring."""

from __future__ import annotations

from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.kinds import MONITORING_API
from vllm_operator.kube.types import Object
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.claim import unbound_claim
from vllm_operator.status.condition_result import ConditionResult


def cache_ready(assessment: Assessment) -> ConditionResult | None:
    """Check that the claim is bound, and that a downloaded model has been served; None without a cache."""
    name = assessment.inputs.cache_claim
    if name is None:
        return None
    claim = assessment.inputs.snapshot.claim
    if claim is None:
        message = f"claim {name} does not exist: create it, or wait until the operator creates it"
        return ConditionResult("False", "ClaimMissing", message)
    if get_str(claim, "metadata", "deletionTimestamp"):
        message = (
            f"claim {name} is being deleted, and the cache with it: Kubernetes removes it when no pod uses it, "
            "and starts no new pod with it"
        )
        return ConditionResult("False", "ClaimEnds", message)
    if get_str(claim, "status", "phase") == "Lost":
        message = f"claim {name} has lost its volume: delete the claim, so that a new one can be created"
        return ConditionResult("False", "ClaimLost", message)
    return unbound_claim(assessment.inputs) or _bound_claim(assessment, name)


def _bound_claim(assessment: Assessment, name: str) -> ConditionResult:
    was_ready = get_str(_previous_condition(assessment, "CacheReady"), "status") == "True"
    if assessment.inputs.downloads and not assessment.serving and not was_ready:
        message = f"claim {name} is bound; the first replica downloads the model into it"
        return ConditionResult("False", "Filling", message)
    return ConditionResult("True", "Bound", f"claim {name} is bound")


def _previous_condition(assessment: Assessment, kind: str) -> Object:
    return get_condition({"status": assessment.inputs.previous}, kind)


def autoscaling_active(assessment: Assessment) -> ConditionResult | None:
    """Return the state that the HorizontalPodAutoscaler reports in its conditions; None without one."""
    if not assessment.inputs.autoscaling:
        return None
    autoscaler = assessment.inputs.snapshot.autoscaler
    if autoscaler is None:
        return ConditionResult("False", "Missing", "the HorizontalPodAutoscaler does not exist yet")
    for kind in ("AbleToScale", "ScalingActive"):
        entry = get_condition(autoscaler, kind)
        if get_str(entry, "status") == "False":
            return ConditionResult("False", get_str(entry, "reason"), get_str(entry, "message"))
    active = get_condition(autoscaler, "ScalingActive")
    if get_str(active, "status") != "True":
        message = "the HorizontalPodAutoscaler has not computed the number of replicas yet"
        return ConditionResult("Unknown", "Pending", message)
    return ConditionResult("True", get_str(active, "reason"), get_str(active, "message"))


def monitoring_active(assessment: Assessment) -> ConditionResult | None:
    """Check that scraping and alerts are configured; None when neither is wanted. False does not affect serving."""
    inputs = assessment.inputs
    if not inputs.monitoring:
        return None
    if inputs.missing_crds:
        names = ", ".join(inputs.missing_crds)
        message = (
            f"install {names} of {MONITORING_API} (Prometheus operator), "
            "or set monitoring.scrape and monitoring.alerts so that the server does without them"
        )
        return ConditionResult("False", "CRDNotInstalled", f"{message}; serving is not affected")
    if inputs.monitoring_refusals:
        message = "; ".join(problem.message for problem in inputs.monitoring_refusals)
        return ConditionResult("False", inputs.monitoring_refusals[0].reason, f"{message}; serving is not affected")
    return ConditionResult("True", "Configured", "scraping and alerts are configured")
