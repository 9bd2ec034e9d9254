"""The state of a running replica: what vLLM answered, beside what the kubelet says."""

from __future__ import annotations

from vllm_operator.api.status import MAX_REPLICA_STATUSES
from vllm_operator.diagnosis.causes import LOG_SAYS
from vllm_operator.diagnosis.startup_stage import DOWNLOADING, FETCHING, STAGES
from vllm_operator.kube.fields import get_list, get_map, get_str
from vllm_operator.kube.types import Object
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.pod import Pod, State
from vllm_operator.status.replicas.pod_states import crash_message

NOT_PROBED = ReplicaHealth()
NOT_READY = "NotReady"
ENGINE_STALLED = "EngineStalled"
"""Reason of a replica whose API server answers and whose engine does not."""

_SILENT = {"ConnectionRefused", "Timeout", "Unreachable"}
_WRONG = {"HTTPError", "ModelNotServed"}
_JUDGED_BY_PROBE = {*_SILENT, *_WRONG, "Unauthorized", ENGINE_STALLED}


def engine_state(pod: Pod, inputs: StatusInputs, before: Object | None) -> State:
    """The state of a replica whose container runs.

    Args:
        pod: the pod.
        facts: for the health of its engine, and whether the model is downloaded.
        before: its entry in the previous status, if it had one.
    """
    health = inputs.health.get(pod.name, NOT_PROBED)
    if health.reason == "NotProbed":
        return _unasked(pod, inputs, before)
    if health.healthy:
        return _answering(pod)
    if health.reason == "Stalled":
        return State("Stalled", ENGINE_STALLED, health.message)
    if health.reason in _SILENT:
        return _silent(pod, inputs, health)
    # Without the key the operator cannot tell whether the engine is well.
    phase = "Failed" if health.reason in _WRONG else "Unknown"
    return State(phase, health.reason, health.message)  # type: ignore[arg-type]


def stalled_message(status: Object, pod: str) -> str:
    """How a status tells that the engine of `pod` is frozen; empty when it does not."""
    entries = (entry for entry in get_list(status, "replicaStatuses") if get_str(entry, "pod") == pod)
    return next((get_str(entry, "message") for entry in entries if get_str(entry, "reason") == ENGINE_STALLED), "")


def _answering(pod: Pod) -> State:
    if pod.ready:
        return State("Serving", "Serving", "", get_str(pod.readiness, "lastTransitionTime"))
    # Until the kubelet agrees the Service sends it nothing.
    words = "the engine answers; Kubernetes has not called the pod ready yet"
    if pod.main and pod.main.started:
        words = "the engine answered the operator a moment ago; it does not answer Kubernetes' readiness probe"
    return State("Loading", NOT_READY, words, _started(pod))


def _silent(pod: Pod, inputs: StatusInputs, health: ReplicaHealth) -> State:
    if pod.ready:
        words = f"{health.message}; Kubernetes calls it ready: does a NetworkPolicy keep the operator out?"
        return State("Unknown", health.reason, words)
    if pod.main and pod.main.started:
        # The kubelet on the pod's own node hears nothing either, so it is not the network.
        return State("Stalled", health.reason, f"{health.message}; the kubelet gets no answer either")
    return _loading(pod, inputs)


def _loading(pod: Pod, inputs: StatusInputs) -> State:
    # vLLM opens its port when the model is loaded: from outside downloading and loading look the same.
    work = "downloads or loads" if inputs.downloads else "loads"
    words = f"{work} the model; vLLM opens its port when that is done"
    end = get_map(pod.main.last, "terminated") if pod.main else {}
    if pod.log_diagnosis and pod.log_diagnosis.reason:
        return State(
            "Loading", pod.log_diagnosis.reason, f"{words}; {LOG_SAYS}{pod.log_diagnosis.message}", _started(pod)
        )
    if end:
        return State("Loading", "Restarted", f"{words}; restarted after {crash_message(pod, end)}", _started(pod))
    return _stage(pod, inputs) or State("Loading", "Loading", words, _started(pod))


def _stage(pod: Pod, inputs: StatusInputs) -> State | None:
    """How far the start has come, when its log was read and tells; since when is not known."""
    if pod.lookup_result is None or pod.lookup_result.reason not in STAGES:
        return None
    if pod.lookup_result.reason == DOWNLOADING and inputs.downloads:
        return State("Downloading", DOWNLOADING, pod.lookup_result.message)
    if pod.lookup_result.reason in {DOWNLOADING, FETCHING}:
        return None
    return State("Loading", pod.lookup_result.reason, pod.lookup_result.message)


def _unasked(pod: Pod, inputs: StatusInputs, before: Object | None) -> State:
    """Before the first answer (the operator has just started) what was known goes on."""
    if before is not None and _goes_on(pod, before):
        return State(before["phase"], before["reason"], get_str(before, "message"))
    if not pod.ready:
        return _loading(pod, inputs)
    if before is None and len(get_list(inputs.previous, "replicaStatuses")) >= MAX_REPLICA_STATUSES:
        return _answering(pod)  # The full list named the worst ones, and this one was not among them.
    if before is not None and before.get("phase") == "Serving":
        return _answering(pod)
    return State("Loading", "NotProbed", "ready for Kubernetes; the operator has not asked it yet", _started(pod))


def _goes_on(pod: Pod, before: Object) -> bool:
    """Whether what a probe found before the operator was restarted still stands: it came up, and did not end since."""
    if not pod.main or not pod.main.started:
        return False
    if before.get("reason") == NOT_READY:
        return not pod.ready
    return before.get("reason") in _JUDGED_BY_PROBE and before.get("phase") in {"Failed", "Stalled", "Unknown"}


def _started(pod: Pod) -> str:
    begun = get_str(pod.main.state, "running", "startedAt") if pod.main else ""
    return begun or get_str(pod.body, "status", "startTime")
