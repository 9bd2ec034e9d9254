"""The judgement of one server, computed once in a reconcile; status and remediation follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vllm_operator.kube.kinds import CHILD_KINDS
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.permanent_failures import refuses_pods
from vllm_operator.status.replicas.engine_states import ENGINE_STALLED
from vllm_operator.status.replicas.replica import Replica, assess_replicas, worst_first
from vllm_operator.status.rollout import RolloutState, rollout_state

_REMEDIES = {
    "InsufficientGPU": "free or add a GPU, or lower replicas or accelerator.count",
    "Unschedulable": "compare scheduling, accelerator.product and resources with the nodes",
    "VolumeNotBound": "look at the claim with kubectl describe pvc, and at cache.storageClassName",
    "ImagePullBackOff": "check image and imagePullSecrets",
    "InvalidImageName": "correct image",
    "CreateContainerConfigError": "create what is missing, or correct its name in the spec",
    "NodeLost": "repair or delete the node",
    "Evicted": "raise the resource that the node ran out of in resources.requests",
    "ModelNotServed": "compare model.servedNames with the arguments of the pod",
    ENGINE_STALLED: "delete the pod: the Deployment replaces it",
    "HTTPError": "read the replica's log",
    "CrashLoopBackOff": "read the log of its former run with kubectl logs --previous",
    "Restarted": "read the log of its former run with kubectl logs --previous",
}
"""Reason of a replica -> what the user can do about it."""

_UNTROUBLED = {"Serving", "Draining"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """The inputs, the replicas (worst first), the rollout, and the conclusions from them.

    Attributes:
        serving: replicas that serve.
        outdated: serving replicas of an older revision than the wanted one.
        worst: the replica that messages name; None when every replica serves or drains.
        blocked: the replica of the wanted revision that cannot start until a person acts; None without one.
    """

    inputs: StatusInputs
    replicas: tuple[Replica, ...]
    rollout: RolloutState
    serving: tuple[Replica, ...]
    outdated: tuple[Replica, ...]
    worst: Replica | None
    blocked: Replica | None

    @property
    def is_stuck(self) -> bool:
        """The rollout cannot go on: its deadline passed, or its pods meet a permanent failure."""
        refused = self.rollout.observed and refuses_pods(self.rollout.failure)
        return self.rollout.stuck or (not self.rollout.complete and (self.blocked is not None or refused))

    @property
    def has_enough_serving(self) -> bool:
        """As many replicas serve as are wanted, whatever their revision."""
        return len(self.serving) >= self.rollout.wanted

    @property
    def is_complete(self) -> bool:
        """The wanted revision is rolled out, and as many replicas of it serve as are wanted."""
        return self.rollout.complete and len(self.serving) - len(self.outdated) >= self.rollout.wanted


def assess(inputs: StatusInputs, judged: Iterable[Replica] | None = None) -> Assessment:
    """Judge a server.

    Args:
        inputs: the status inputs.
        judged: all of its replicas, where they are judged already.
    """
    replicas = assess_replicas(inputs) if judged is None else worst_first(judged)
    rollout = rollout_state(inputs)
    serving = tuple(replica for replica in replicas if replica.serving)
    outdated = tuple(replica for replica in serving if _is_outdated(replica, rollout))
    blocked = _blocked(replicas, rollout)
    worst = blocked or _worst(replicas, outdated, rollout)
    return Assessment(inputs, replicas, rollout, serving, outdated, worst, blocked)


def _blocked(replicas: tuple[Replica, ...], rollout: RolloutState) -> Replica | None:
    """Return the worst permanently failed replica of the wanted revision; the rollout replaces those of older ones."""
    wanted = (r for r in replicas if not r.ended and r.revision and r.revision == rollout.revision)
    return next((r for r in wanted if r.permanent), None)


def _is_outdated(replica: Replica, rollout: RolloutState) -> bool:
    if rollout.exists and rollout.observed and rollout.updated >= rollout.replicas:
        return False
    return bool(replica.revision) and replica.revision != rollout.revision


def _worst(replicas: tuple[Replica, ...], outdated: tuple[Replica, ...], rollout: RolloutState) -> Replica | None:
    """Return the worst replica, of the wanted revision first when a rollout has left older ones serving."""
    troubled = [replica for replica in replicas if replica.phase not in _UNTROUBLED]
    living = [replica for replica in troubled if not replica.ended] or troubled
    newest = [replica for replica in living if outdated and replica.revision == rollout.revision]
    return next(iter(newest or living), None)


def held_back_message(inputs: StatusInputs) -> str:
    """Return which children of a paused server differ from its spec; empty when none does.

    Optional kinds do not count: monitoring has its own condition, and serving does not depend on it.
    """
    pending = [kind for kind in inputs.pending if not CHILD_KINDS[kind].optional]
    if not pending:
        return ""
    return f"paused: the latest spec is not carried out ({', '.join(pending)}) until spec.paused is false"


def describe(replica: Replica) -> str:
    """Return `pod: headline`, as the server's one line names a replica."""
    return f"{replica.pod}: {replica.headline or replica.reason}"


def describe_with_remedy(assessment: Assessment, replica: Replica) -> str:
    """Return `pod: headline; remedy`; without the remedy where there is none to give."""
    remedy = _remedy(assessment, replica)
    return f"{describe(replica)}; {remedy}" if remedy else describe(replica)


def _remedy(assessment: Assessment, replica: Replica) -> str:
    """Return the operator's own remediation, or what the user can do; empty where the headline says it already."""
    if replica.reason == ENGINE_STALLED and assessment.inputs.remediation_note:
        return assessment.inputs.remediation_note
    if replica.reason == "VolumeNotBound" and replica.headline.startswith("claim "):
        return ""  # the headline is that of the claim, and names its remedy
    if replica.reason.startswith("ExitCode") and "kubectl logs" not in replica.message:
        return f"the kubelet restarts it; correct the spec, or see kubectl logs --previous {replica.pod}"
    return _REMEDIES.get(replica.reason, "")


def count_noun(number: int, noun: str) -> str:
    """Return a count with its noun: `1 replica`, `2 replicas`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
