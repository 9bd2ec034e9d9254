"""The condition AutoscalingActive: who scales a server, and why that does not work."""

from __future__ import annotations

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.problem import problem_messages
from vllm_operator.api.replica_bounds import plain_bounds
from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.kinds import SCALED_OBJECT
from vllm_operator.kube.types import Object
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.bounds import floor_message
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.metrics_api_state import STARTING

WAKE = (
    "kubectl scale vllmserver/NAME --replicas=1 wakes it, and so does the annotation vllm-operator.dev/wake with the "
    "present time"
)
"""How a server that sleeps is woken, with NAME for its name."""


def autoscaling_active(assessment: Assessment) -> ConditionResult | None:
    """Report whether the server follows its load, and what keeps it from that; None without autoscaling."""
    inputs = assessment.inputs
    scaling = inputs.scaling
    if not inputs.autoscaling:
        return None
    if inputs.asleep and not inputs.problems:
        return ConditionResult("True", "Asleep", asleep_message(inputs))
    if scaling is None:  # the spec cannot be read
        return _autoscaler(assessment)
    if scaling.paused and not inputs.paused:
        return ConditionResult("False", "Paused", "autoscaling.paused is true: the number of replicas stays as it is")
    if inputs.other_autoscalers and not inputs.problems:
        return ConditionResult("False", "OtherAutoscaler", _others_message(inputs))
    if scaling.source == "operator":
        return _operator(inputs, scaling)
    if scaling.source == "keda":
        return _scaled_object(inputs)
    return _with_floor(_with_metrics_api(_autoscaler(assessment), inputs, scaling), inputs)


def _with_floor(found: ConditionResult, inputs: StatusInputs) -> ConditionResult:
    """Return the result with the reason for a raised floor."""
    if not inputs.floor:
        return found
    return ConditionResult(found.status, found.reason, f"{found.message}; {floor_message(inputs)}")


def _with_metrics_api(found: ConditionResult, inputs: StatusInputs, scaling: Autoscaling) -> ConditionResult:
    """Return the state of the metrics API in place of a failure of the autoscaler that it causes."""
    if scaling.source == "builtin" and found.status != "True" and not inputs.metrics_api.is_served:
        # The cause of the autoscaler's own message.
        return ConditionResult(
            "Unknown" if inputs.metrics_api == STARTING else "False",
            inputs.metrics_api.reason,
            inputs.metrics_api.message,
        )
    return found


def _others_message(inputs: StatusInputs) -> str:
    """Return which autoscalers scale the same pods, and the way out."""
    names = ", ".join(inputs.other_autoscalers)
    return (
        f"{names}: it scales the same pods as spec.autoscaling, and two autoscalers stop each other. Delete it, or "
        "remove spec.autoscaling and let it name the VLLMServer"
    )


def asleep_message(inputs: StatusInputs) -> str:
    """Return how a server that sleeps is woken."""
    name = get_str(inputs.snapshot.server, "metadata", "name") or "NAME"
    return f"asleep, without a replica: {WAKE.replace('NAME', name)}"


def _operator(inputs: StatusInputs, scaling: Autoscaling) -> ConditionResult:
    bounds = str(inputs.bounds.bounds if inputs.bounds else plain_bounds(scaling))
    if inputs.paused:
        return ConditionResult("False", "Paused", "the operator scales nothing until spec.paused is false")
    if inputs.problems:
        return ConditionResult("False", "Refused", "the operator scales nothing until the spec is accepted")
    if inputs.scaling_problem:
        return ConditionResult("False", "NoMetrics", inputs.scaling_problem)
    return ConditionResult("True", "OperatorScales", f"the operator scales by itself, from {bounds}")


def _autoscaler(assessment: Assessment) -> ConditionResult:
    """Return the state that the HorizontalPodAutoscaler reports in its conditions."""
    inputs = assessment.inputs
    autoscaler = inputs.snapshot.autoscaler
    if autoscaler is None:
        message = f"no HorizontalPodAutoscaler exists for this server{reason_to_wait(inputs)}"
        return ConditionResult("False", "Missing", message)
    if get_str(autoscaler, "metadata", "deletionTimestamp"):
        return ConditionResult("False", "Terminating", "the HorizontalPodAutoscaler is being deleted")
    for kind in ("AbleToScale", "ScalingActive"):
        entry = get_condition(autoscaler, kind)
        if get_str(entry, "status") == "False":
            return ConditionResult("False", get_str(entry, "reason"), _with_remedy(assessment, entry))
    active = get_condition(autoscaler, "ScalingActive")
    if get_str(active, "status") != "True":
        message = "the HorizontalPodAutoscaler has not computed the number of replicas yet"
        return ConditionResult("Unknown", "Pending", message)
    return ConditionResult("True", get_str(active, "reason"), get_str(active, "message"))


def _with_remedy(assessment: Assessment, entry: Object) -> str:
    """Return the message of a condition of the autoscaler, with what the user can do."""
    reason, message = get_str(entry, "reason"), get_str(entry, "message")
    if reason == "AmbiguousSelector":
        return (
            f"{message}: two autoscalers scale the same pods, so neither does. Delete the other one (where its name "
            "begins with keda-hpa-, its ScaledObject), or remove spec.autoscaling"
        )
    if reason != "FailedGetPodsMetric":
        return message
    if not assessment.serving:
        return f"{message}: no replica serves yet"
    if assessment.inputs.scaling is not None and assessment.inputs.scaling.source == "prometheus-adapter":
        return f"{message}: {_adapter_remedy(message, assessment.inputs.metrics_api.is_served)}"
    if assessment.inputs.metrics_api.is_served:
        return f"{message}: the replicas export no load. Remove --disable-log-stats, and check that image runs vLLM"
    return message


def _adapter_remedy(message: str, is_served_here: bool) -> str:
    """Return what to do where prometheus-adapter gives no metrics."""
    if is_served_here:
        cause = "the operator serves custom.metrics.k8s.io, so no adapter does: give the API to the adapter"
    elif "could not find the requested resource" in message:
        cause = "nothing serves custom.metrics.k8s.io: install prometheus-adapter"
    elif "no metrics returned" in message:
        cause = "Prometheus or its adapter has no series of these pods: let Prometheus scrape them, and add the rule"
    else:
        cause = "check that the adapter runs and reaches Prometheus"
    return f"{cause} (docs: how-to/autoscale), or set autoscaling.source to builtin, which needs neither"


def _scaled_object(inputs: StatusInputs) -> ConditionResult:
    """Return what keeps the ScaledObject from being there, or else the state that KEDA reports."""
    if SCALED_OBJECT in inputs.missing_scalers:
        message = "the CRD of ScaledObject is missing: install KEDA (https://keda.sh), or set source: builtin"
        return ConditionResult("False", "CRDNotInstalled", message)
    if inputs.scaling_problems:
        message = "; ".join(problem_messages(inputs.scaling_problems))
        return ConditionResult("False", inputs.scaling_problems[0].reason, message)
    body = inputs.snapshot.scaled_object
    if body is None:
        return ConditionResult("False", "Missing", f"no ScaledObject exists for this server{reason_to_wait(inputs)}")
    return _reported_by_keda(body, inputs)


def _reported_by_keda(body: Object, inputs: StatusInputs) -> ConditionResult:
    """Return the state in the conditions of a ScaledObject, and in those of its HorizontalPodAutoscaler."""
    fallback, ready = get_condition(body, "Fallback"), get_condition(body, "Ready")
    event = inputs.lookup_results.get(get_str(body, "metadata", "uid"))
    cause = f": {event.message}" if event is not None and event.message else ""
    if get_str(fallback, "status") == "True":
        message = f"KEDA cannot read a trigger, and keeps the replicas of keda.fallback{cause}"
        return ConditionResult("False", "Fallback", message)
    if get_str(ready, "status") == "True" and inputs.keda_failure:
        # KEDA calls the ScaledObject ready while its metrics do not reach the autoscaler.
        reason, _, message = inputs.keda_failure.partition(": ")
        return ConditionResult(
            "False",
            reason,
            f"the HorizontalPodAutoscaler of KEDA cannot scale: {message}. Does keda-operator-metrics-apiserver run?",
        )
    if get_str(ready, "status") == "True":
        return ConditionResult("True", get_str(ready, "reason") or "Ready", get_str(ready, "message") or "KEDA scales")
    if get_str(ready, "status") == "False":
        return ConditionResult("False", get_str(ready, "reason"), f"{get_str(ready, 'message')}{cause}")
    return ConditionResult("Unknown", "Pending", "KEDA has not reported the state of the ScaledObject: does it run?")


def reason_to_wait(inputs: StatusInputs) -> str:
    """Return what has to happen before the operator creates an absent object."""
    if inputs.problems:
        return ": the operator creates it when the spec is accepted"
    if inputs.paused:
        return ": the operator creates it when spec.paused is false"
    return " yet"
