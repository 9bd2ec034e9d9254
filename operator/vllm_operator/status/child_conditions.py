"""Conditions that tell of children: the cache's claim, the autoscaler, monitoring."""

from __future__ import annotations

from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.kinds import MONITORING_API
from vllm_operator.kube.types import Object
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.claim import unbound
from vllm_operator.status.condition_result import ConditionResult


def cache_ready(assessment: Assessment) -> ConditionResult | None:
    """The claim is bound and the model is in it; None without a cache."""
    name = assessment.inputs.cache_claim
    if name is None:
        return None
    claim = assessment.inputs.observed.claim
    if claim is None:
        return ConditionResult(
            "False", "ClaimMissing", f"claim {name} does not exist: create it, or wait for the operator to"
        )
    if get_str(claim, "metadata", "deletionTimestamp"):
        words = f"claim {name} is being deleted, and the cache with it: it goes when no pod uses it, and no new pod may"
        return ConditionResult("False", "ClaimEnds", words)
    phase = get_str(claim, "status", "phase")
    if phase == "Lost":
        return ConditionResult(
            "False", "ClaimLost", f"the volume of claim {name} is gone: delete the claim and let it be made anew"
        )
    return unbound(assessment.inputs) or _bound(assessment, name)


def _bound(assessment: Assessment, name: str) -> ConditionResult:
    before = get_str(_previous(assessment, "CacheReady"), "status") == "True"
    if assessment.inputs.downloads and not assessment.serving and not before:
        return ConditionResult(
            "False", "Filling", f"claim {name} is bound; the first replica downloads the model into it"
        )
    return ConditionResult("True", "Bound", f"claim {name} is bound")


def _previous(assessment: Assessment, kind: str) -> Object:
    return get_condition({"status": assessment.inputs.previous}, kind)


def autoscaling_active(assessment: Assessment) -> ConditionResult | None:
    """The HorizontalPodAutoscaler's own word on whether it can compute; None without one."""
    if not assessment.inputs.autoscaling:
        return None
    scaler = assessment.inputs.observed.autoscaler
    if scaler is None:
        return ConditionResult("False", "Missing", "the HorizontalPodAutoscaler does not exist yet")
    for kind in ("AbleToScale", "ScalingActive"):
        entry = get_condition(scaler, kind)
        if get_str(entry, "status") == "False":
            return ConditionResult("False", get_str(entry, "reason"), get_str(entry, "message"))
    active = get_condition(scaler, "ScalingActive")
    if get_str(active, "status") != "True":
        return ConditionResult("Unknown", "Pending", "the HorizontalPodAutoscaler has not computed yet")
    return ConditionResult("True", get_str(active, "reason"), get_str(active, "message"))


def monitoring_active(assessment: Assessment) -> ConditionResult | None:
    """Scraping and alerts are in place; None when neither is wanted. False blocks nothing."""
    inputs = assessment.inputs
    if not inputs.monitoring:
        return None
    if inputs.missing_crds:
        names = ", ".join(inputs.missing_crds)
        words = (
            f"install {names} of {MONITORING_API} (Prometheus operator), "
            "or set monitoring.scrape and monitoring.alerts to do without"
        )
        return ConditionResult("False", "CRDNotInstalled", f"{words}; serving is not affected")
    if inputs.monitoring_refusals:
        words = "; ".join(problem.message for problem in inputs.monitoring_refusals)
        return ConditionResult("False", inputs.monitoring_refusals[0].reason, f"{words}; serving is not affected")
    return ConditionResult("True", "Configured", "scraping and alerts are in place")
