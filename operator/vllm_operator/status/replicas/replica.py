"""Every replica of a server with its state, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vllm_operator.api.status import MAX_REPLICA_STATUSES, ReplicaPhase
from vllm_operator.diagnosis.causes import remembered
from vllm_operator.diagnosis.event_reasons import remembered_explanation
from vllm_operator.diagnosis.log_text import line
from vllm_operator.diagnosis.startup_stage import remembered_stage
from vllm_operator.kube.fields import get_list, get_str, timestamp
from vllm_operator.kube.types import Object
from vllm_operator.status.claim import unbound
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import ENGINE_STALLED, engine_state
from vllm_operator.status.replicas.pod import Pod, State, read_pod
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


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod as the status tells it.

    Attributes:
        gone: the pod ended for good and another one takes its place.
        ready: Kubernetes calls it ready.
        revision: hash of the pod template that it was made from.
        cure: what the operator does about it; empty when that is left to people.
        image: image of its vLLM.
    """

    pod: str
    node: str
    phase: ReplicaPhase
    reason: str
    message: str
    headline: str
    since: str
    gone: bool
    ready: bool
    revision: str
    image: str
    cure: str = ""

    @property
    def serving(self) -> bool:
        """The engine answers, lists the model, and the Service sends it requests."""
        return self.phase == "Serving"

    def as_status(self) -> dict[str, Any]:
        """The entry of `replicaStatuses`."""
        entry = {"pod": self.pod, "phase": self.phase, "reason": self.reason, "since": self.since}
        if self.node:
            entry["node"] = self.node
        if self.message:
            entry["message"] = self.message
        return entry


def judged_replicas(facts: StatusInputs) -> tuple[Replica, ...]:
    """Every pod of the server, worst first and then by name."""
    before = {get_str(entry, "pod"): entry for entry in get_list(facts.previous, "replicaStatuses")}
    replicas = [_judged(_read(pod, facts, before), facts, before) for pod in facts.observed.pods]
    return tuple(sorted(replicas, key=lambda replica: (_RANK[replica.phase], replica.pod)))


def replica_statuses(facts: StatusInputs) -> list[dict[str, Any]]:
    """`replicaStatuses`: at most 100 entries, worst first, each with the fields of `api.status.ReplicaStatus`."""
    return [replica.as_status() for replica in judged_replicas(facts)[:MAX_REPLICA_STATUSES]]


def _read(body: Object, facts: StatusInputs, before: Mapping[str, Object]) -> Pod:
    """The pod with its diagnosis: as told before until its log is read again, so that a restart changes no word."""
    name = get_str(body, "metadata", "name")
    entry = before.get(name[:_NAME_LENGTH])
    found = facts.findings.get(get_str(body, "metadata", "uid"))
    if found is None:
        found = remembered_stage(entry) or remembered_explanation(entry)
    return read_pod(body, facts.diagnoses.get(name) or remembered(entry, is_late(facts.observed)), found)


def _judged(pod: Pod, facts: StatusInputs, before: Mapping[str, Object]) -> Replica:
    previous = before.get(pod.name[:_NAME_LENGTH])
    state = _with_claim(_state(pod, facts, previous), facts)
    message = _steady_message(state, previous)
    return Replica(
        pod=pod.name[:_NAME_LENGTH],
        node=pod.node[:_NAME_LENGTH],
        phase=state.phase,
        reason=state.reason,
        message=message,
        headline=line(state.headline) or message,
        since=_since(state, previous, facts),
        gone=get_str(pod.body, "status", "phase") in {"Failed", "Succeeded"},
        ready=pod.ready,
        revision=pod.revision,
        cure=facts.cure if state.reason == ENGINE_STALLED else "",
        image=line(pod.image, _IMAGE_LENGTH),
    )


def _state(pod: Pod, facts: StatusInputs, previous: Object | None) -> State:
    for check in KUBERNETES_STATES:
        if (state := check(pod)) is not None:
            return state
    return engine_state(pod, facts, previous)


def _with_claim(state: State, facts: StatusInputs) -> State:
    """A pod that waits for its claim is told with what the claim waits for."""
    claim = unbound(facts) if state.reason == "VolumeNotBound" else None
    return replace(state, headline=claim.message) if claim and claim.reason != "ClaimPending" else state


def _unchanged(state: State, previous: Object | None) -> bool:
    return previous is not None and (previous.get("phase"), previous.get("reason")) == (state.phase, state.reason)


def _since(state: State, previous: Object | None, facts: StatusInputs) -> str:
    """When the state began: as told before while it lasts, else Kubernetes' time, else this pass."""
    if previous is not None and _unchanged(state, previous) and get_str(previous, "since"):
        return get_str(previous, "since")
    return line(state.since, 64) or timestamp(facts.now)


def _steady_message(state: State, previous: Object | None) -> str:
    """The message; older kubelets tell the cause of a failed pull only at every other look, so the longer one stays."""
    message = line(state.message)
    if state.reason == IMAGE_PULL_BACK_OFF and message.startswith("Back-off") and _unchanged(state, previous):
        return get_str(previous, "message") or message
    return message
