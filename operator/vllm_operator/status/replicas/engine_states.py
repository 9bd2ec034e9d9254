"""The state of a replica that runs, from the probe result and from what the kubelet reports."""

from __future__ import annotations

from vllm_operator.diagnosis.causes import LOG_SAYS
from vllm_operator.diagnosis.startup_stage import DOWNLOADING, FETCHING, STAGES
from vllm_operator.kube.fields import get_list, get_map, get_str
from vllm_operator.kube.types import Object
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.pod import Pod, ReplicaState
from vllm_operator.status.replicas.pod_states import crash_message

NO_PROBE_RESULT = ReplicaHealth()
NOT_READY = "NotReady"
ENGINE_STALLED = "EngineStalled"
"""Reason of a replica whose API server answers and whose engine does not."""

_SILENT_REASONS = {"ConnectionRefused", "Timeout", "Unreachable"}
_WRONG_ANSWER_REASONS = {"HTTPError", "ModelNotServed"}
_PROBE_REASONS = {*_SILENT_REASONS, *_WRONG_ANSWER_REASONS, "Unauthorized", ENGINE_STALLED}


def engine_state(pod: Pod, inputs: StatusInputs, previous: Object | None) -> ReplicaState:
    """Return the state of a replica whose container runs.

    Args:
        pod: the pod.
        inputs: for its probe result, and whether vLLM downloads the model.
        previous: its entry in the previous status, if it had one.
    """
    health = inputs.health.get(pod.name, NO_PROBE_RESULT)
    if health.reason == "NotProbed":
        return _not_probed(pod, inputs, previous)
    if health.is_healthy:
        return _healthy(pod)
    if health.reason == "Stalled":
        return ReplicaState("Stalled", ENGINE_STALLED, health.message)
    if health.reason in _SILENT_REASONS:
        return _silent(pod, inputs, health)
    # Without the API key the operator cannot find out whether the engine is healthy.
    phase = "Failed" if health.reason in _WRONG_ANSWER_REASONS else "Unknown"
    return ReplicaState(phase, health.reason, health.message)  # type: ignore[arg-type]


def stalled_messages(status: Object) -> dict[str, str]:
    """Return pod name -> message for the stalled engines that a status reports."""
    entries = (entry for entry in get_list(status, "replicaStatuses") if get_str(entry, "reason") == ENGINE_STALLED)
    return {get_str(entry, "pod"): get_str(entry, "message") for entry in entries}


def _healthy(pod: Pod) -> ReplicaState:
    if pod.ready:
        return ReplicaState("Serving", "Serving", "", get_str(pod.readiness, "lastTransitionTime"))
    # The Service sends it no request until the kubelet calls it ready.
    message = "the engine answers; Kubernetes has not called the pod ready yet"
    if pod.main and pod.main.started:
        message = "the engine answered the operator a moment ago; it does not answer Kubernetes' readiness probe"
    return ReplicaState("Loading", NOT_READY, message, _start_time(pod))


OUTSIDE = "the operator out, or a service mesh with strict mTLS? See docs/how-to/service-mesh.md"
"""End of the message about a replica that only the kubelet reaches."""


def _silent(pod: Pod, inputs: StatusInputs, health: ReplicaHealth) -> ReplicaState:
    if pod.ready:
        message = f"{health.message}; Kubernetes calls it ready: does a NetworkPolicy keep {OUTSIDE}"
        return ReplicaState("Unknown", health.reason, message)
    if pod.main and pod.main.started:
        # The kubelet on the pod's own node gets no answer either, so the network is not the cause.
        return ReplicaState("Stalled", health.reason, f"{health.message}; the kubelet gets no answer either")
    return _loading(pod, inputs)


def _loading(pod: Pod, inputs: StatusInputs) -> ReplicaState:
    # vLLM opens its port when the model is loaded: until then a probe cannot distinguish downloading from loading.
    work = "downloads or loads" if inputs.downloads else "loads"
    message = f"{work} the model; vLLM opens its port when that is done"
    end = get_map(pod.main.last, "terminated") if pod.main else {}
    if pod.log_diagnosis and pod.log_diagnosis.reason:
        return ReplicaState(
            "Loading", pod.log_diagnosis.reason, f"{message}; {LOG_SAYS}{pod.log_diagnosis.message}", _start_time(pod)
        )
    if end:
        return ReplicaState(
            "Loading", "Restarted", f"{message}; restarted after {crash_message(pod, end)}", _start_time(pod)
        )
    return _stage(pod, inputs) or ReplicaState("Loading", "Loading", message, _start_time(pod))


def _stage(pod: Pod, inputs: StatusInputs) -> ReplicaState | None:
    """Return the stage of the start when a lookup found one; without `since`, which the log does not show."""
    if pod.lookup_result is None or pod.lookup_result.reason not in STAGES:
        return None
    if pod.lookup_result.reason == DOWNLOADING and inputs.downloads:
        return ReplicaState("Downloading", DOWNLOADING, pod.lookup_result.message)
    if pod.lookup_result.reason in {DOWNLOADING, FETCHING}:
        return None
    return ReplicaState("Loading", pod.lookup_result.reason, pod.lookup_result.message)


def _not_probed(pod: Pod, inputs: StatusInputs, previous: Object | None) -> ReplicaState:
    """Return the state before the first probe of this operator process: the previous one while it still holds."""
    if previous is not None and _still_holds(pod, previous):
        return ReplicaState(previous["phase"], previous["reason"], get_str(previous, "message"))
    if not pod.ready:
        return _loading(pod, inputs)
    if previous is None and inputs.unlisted_replicas_served:
        return _healthy(pod)
    if previous is not None and previous.get("phase") == "Serving":
        return _healthy(pod)
    return ReplicaState(
        "Loading", "NotProbed", "Kubernetes calls it ready; the operator has not probed it yet", _start_time(pod)
    )


def _still_holds(pod: Pod, previous: Object) -> bool:
    """Return True when the probe result of a former operator process still holds: the container runs without an end."""
    if not pod.main or not pod.main.started:
        return False
    if previous.get("reason") == NOT_READY:
        return not pod.ready
    return previous.get("reason") in _PROBE_REASONS and previous.get("phase") in {"Failed", "Stalled", "Unknown"}


def _start_time(pod: Pod) -> str:
    begun = get_str(pod.main.state, "running", "startedAt") if pod.main else ""
    return begun or get_str(pod.body, "status", "startTime")
