"""Every replica of a server with its state, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vllm_operator.api.status import ReplicaPhase
from vllm_operator.diagnosis.causes import log_diagnosis_from_status
from vllm_operator.diagnosis.event_reasons import events_diagnosis_from_status
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.diagnosis.startup_stage import stage_from_status
from vllm_operator.kube.fields import format_timestamp, get_list, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.claim import unbound_claim
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import engine_state
from vllm_operator.status.replicas.pod import Pod, ReplicaState, read_pod
from vllm_operator.status.replicas.pod_states import IMAGE_PULL_BACK_OFF, KUBERNETES_STATES
from vllm_operator.status.rollout import is_late

WORST_FIRST: tuple[ReplicaPhase, ...] = (
    "Failed",
    "CrashLooping",
    "Stalled",
    "Unknown",
    "Scheduling",
    "Pulling",
    "Downloading",
    "Loading",
    "Draining",
    "Serving",
)
_RANK: dict[str, int] = {phase: rank for rank, phase in enumerate(WORST_FIRST)}
_NAME_LENGTH = 253
_IMAGE_LENGTH = 200
_TIME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod as the status reports it.

    Attributes:
        ended: the pod ended for good, and another one takes its place.
        ready: Kubernetes calls it ready.
        revision: hash of the pod template that it was made from.
        image: image of its vLLM.
    """

    pod: str
    node: str
    phase: ReplicaPhase
    reason: str
    message: str
    headline: str
    since: str
    ended: bool
    ready: bool
    revision: str
    image: str

    @property
    def serving(self) -> bool:
        """The engine answers, lists the model, and the Service sends it requests."""
        return self.phase == "Serving"

    def as_status(self) -> dict[str, Any]:
        """Return the entry of `replicaStatuses`."""
        entry = {"pod": self.pod, "phase": self.phase, "reason": self.reason, "since": self.since}
        if self.node:
            entry["node"] = self.node
        if self.message:
            entry["message"] = self.message
        return entry


def assess_replicas(inputs: StatusInputs) -> tuple[Replica, ...]:
    """Judge every pod of the server; worst first, then by name."""
    previous = {get_str(entry, "pod"): entry for entry in get_list(inputs.previous, "replicaStatuses")}
    replicas = [_assess(body, inputs, previous) for body in inputs.snapshot.pods]
    return tuple(sorted(replicas, key=lambda replica: (_RANK[replica.phase], replica.pod)))


def _assess(body: Object, inputs: StatusInputs, entries: Mapping[str, Object]) -> Replica:
    previous = entries.get(get_str(body, "metadata", "name")[:_NAME_LENGTH])
    pod = _read_with_diagnosis(body, inputs, previous)
    state = _with_claim(_state(pod, inputs, previous), inputs)
    message = _steady_message(state, previous)
    return Replica(
        pod=pod.name[:_NAME_LENGTH],
        node=pod.node[:_NAME_LENGTH],
        phase=state.phase,
        reason=state.reason,
        message=message,
        headline=one_line(state.headline) or message,
        since=_since(state, previous, inputs),
        ended=get_str(pod.body, "status", "phase") in {"Failed", "Succeeded"},
        ready=pod.ready,
        revision=pod.revision,
        image=one_line(pod.image, _IMAGE_LENGTH),
    )


def _read_with_diagnosis(body: Object, inputs: StatusInputs, previous: Object | None) -> Pod:
    """Read a pod. After a restart, the causes in the status are used until its log and Events are read again."""
    looked_up = inputs.lookup_results.get(get_str(body, "metadata", "uid"))
    if looked_up is None:
        looked_up = stage_from_status(previous) or events_diagnosis_from_status(previous)
    from_log = inputs.log_diagnoses.get(get_str(body, "metadata", "name"))
    return read_pod(body, from_log or log_diagnosis_from_status(previous, is_late(inputs.snapshot)), looked_up)


def _state(pod: Pod, inputs: StatusInputs, previous: Object | None) -> ReplicaState:
    for check in KUBERNETES_STATES:
        if (state := check(pod)) is not None:
            return state
    return engine_state(pod, inputs, previous)


def _with_claim(state: ReplicaState, inputs: StatusInputs) -> ReplicaState:
    """Name the cause of the unbound claim in the headline of a pod that waits for it."""
    claim = unbound_claim(inputs) if state.reason == "VolumeNotBound" else None
    return replace(state, headline=claim.message) if claim and claim.reason != "ClaimPending" else state


def _is_unchanged(state: ReplicaState, previous: Object | None) -> bool:
    return previous is not None and (previous.get("phase"), previous.get("reason")) == (state.phase, state.reason)


def _since(state: ReplicaState, previous: Object | None, inputs: StatusInputs) -> str:
    """Return when the state began: the time in the status while the state lasts, else that of Kubernetes, else now."""
    if previous is not None and _is_unchanged(state, previous) and get_str(previous, "since"):
        return get_str(previous, "since")
    return one_line(state.since, _TIME_LENGTH) or format_timestamp(inputs.now)


def _steady_message(state: ReplicaState, previous: Object | None) -> str:
    """Return the message; keep the cause of a failed pull, which older kubelets replace by `Back-off` at times."""
    message = one_line(state.message)
    if state.reason == IMAGE_PULL_BACK_OFF and message.startswith("Back-off") and _is_unchanged(state, previous):
        return get_str(previous, "message") or message
    return message
