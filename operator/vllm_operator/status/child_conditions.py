"""Checks of the children behind conditions: the claim of the cache, monitoring."""

from __future__ import annotations

from vllm_operator.api.problem import problem_messages
from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.kinds import MONITORING_API, POD_MONITOR, PROMETHEUS_RULE
from vllm_operator.kube.types import Object
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.autoscaling import reason_to_wait
from vllm_operator.status.claim import unbound_claim
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.inputs import StatusInputs

SCRAPE_ANNOTATION = "prometheus.io/scrape"


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


def monitoring_active(assessment: Assessment) -> ConditionResult | None:
    """Check that scraping and alerts have their objects; None when neither is wanted. False does not affect serving."""
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
    if inputs.monitoring_problems:
        message = "; ".join(problem_messages(inputs.monitoring_problems))
        return ConditionResult("False", inputs.monitoring_problems[0].reason, f"{message}; serving is not affected")
    if absent := _absent_monitoring(inputs):
        return ConditionResult("False", "Missing", f"{absent}{reason_to_wait(inputs)}")
    if outdated := [kind for kind in inputs.monitoring_children if kind in inputs.pending]:
        message = f"{' and '.join(outdated)}: the latest spec is not carried out until spec.paused is false"
        return ConditionResult("False", "Paused", message)
    return ConditionResult("True", "Configured", f"{_configured(inputs)} configured")


def _absent_monitoring(inputs: StatusInputs) -> str:
    """Return which object of scraping and alerts does not exist; empty when all of them do."""
    absent = [kind for kind in inputs.monitoring_children if kind not in inputs.snapshot.standing]
    if absent:
        return f"no {' and no '.join(absent)} exists for this server"
    template = ("spec", "template", "metadata", "annotations", SCRAPE_ANNOTATION)
    if inputs.scrape_annotations and get_str(inputs.snapshot.deployment, *template) != "true":
        return "no Deployment whose pods have the scrape annotations exists for this server"
    return ""


def _configured(inputs: StatusInputs) -> str:
    """Return what is configured, of scraping and alerts, with its verb."""
    scraped = inputs.scrape_annotations or POD_MONITOR in inputs.monitoring_children
    if scraped and PROMETHEUS_RULE not in inputs.monitoring_children:
        return "scraping is"
    return "scraping and alerts are" if scraped else "alerts are"
