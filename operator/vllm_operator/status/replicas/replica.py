"""Every replica of a server with its state, worst first."""

from __future__ import annotations

from collections.abc import Iterable
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
from vllm_operator.status.permanent_failures import is_permanent
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
        permanent: no retry can end its failure.
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
    permanent: bool = False

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
    assessor = ReplicaAssessor(inputs)
    return worst_first([assessor.assess(body) for body in inputs.snapshot.pods])


def worst_first(replicas: Iterable[Replica]) -> tuple[Replica, ...]:
    """Return replicas in the order of the status: worst first, then by name."""
    return tuple(sorted(replicas, key=lambda replica: (_RANK[replica.phase], replica.pod)))


class ReplicaAssessor:
    """Judge the pods of a server one by one. The memo of the inputs keeps each result until an input changes.

    Args:
        inputs: the status inputs.
    """

    def __init__(self, inputs: StatusInputs) -> None:
        self._inputs = inputs
        entries = get_list(inputs.previous, "replicaStatuses")
        self._previous = {get_str(entry, "pod"): entry for entry in entries}
        self._shared = (
            is_late(inputs.snapshot),
            inputs.downloads,
            unbound_claim(inputs),
            inputs.unlisted_replicas_served,
        )
        """Inputs that every replica depends on."""
        self._now = format_timestamp(inputs.now)

    def assess(self, body: Object) -> Replica:
        """Judge one pod."""
        inputs, name = self._inputs, get_str(body, "metadata", "name")
        previous = self._previous.get(name[:_NAME_LENGTH])
        depends_on = (
            previous,
            inputs.health.get(name),
            inputs.log_diagnoses.get(name),
            inputs.lookup_results.get(get_str(body, "metadata", "uid")),
            self._shared,
        )
        replica = inputs.memo.recall(body, "replica", lambda: _assess(body, inputs, previous), depends_on)
        return replica if replica.since else replace(replica, since=self._now)


def _assess(body: Object, inputs: StatusInputs, previous: Object | None) -> Replica:
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
        since=_since(state, previous),
        ended=get_str(pod.body, "status", "phase") in {"Failed", "Succeeded"},
        ready=pod.ready,
        revision=pod.revision,
        image=one_line(pod.image, _IMAGE_LENGTH),
        permanent=is_permanent(state.phase, state.reason, message),
    )


def _read_with_diagnosis(body: Object, inputs: StatusInputs, previous: Object | None) -> Pod:
    """Read a pod. After a restart, the causes in the status are used until its log and Events are read again."""
    looked_up = inputs.lookup_results.get(get_str(body, "metadata", "uid"))
    if looked_up is None:
        looked_up = stage_from_status(previous) or events_diagnosis_from_status(previous)
    from_log = inputs.log_diagnoses.get(get_str(body, "metadata", "name"))
    from_log = from_log or log_diagnosis_from_status(previous, is_late(inputs.snapshot))
    return read_pod(body, from_log, looked_up, inputs.memo)


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


def _since(state: ReplicaState, previous: Object | None) -> str:
    """Return when the state began: as in the status while it lasts, else Kubernetes' time; empty when it began now."""
    if previous is not None and _is_unchanged(state, previous) and get_str(previous, "since"):
        return get_str(previous, "since")
    return one_line(state.since, _TIME_LENGTH)


def _steady_message(state: ReplicaState, previous: Object | None) -> str:
    """Return the message; keep the cause of a failed pull, which older kubelets replace by `Back-off` at times."""
    message = one_line(state.message)
    if state.reason == IMAGE_PULL_BACK_OFF and message.startswith("Back-off") and _is_unchanged(state, previous):
        return get_str(previous, "message") or message
    return message
