"""One look at a server, from which every condition, the phase and the message are told."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.permanent_failures import lasts, refuses_pods
from vllm_operator.status.replicas.engine_states import ENGINE_STALLED
from vllm_operator.status.replicas.replica import Replica, judged_replicas
from vllm_operator.status.rollout import RolloutState, rollout

_WAYS_OUT = {
    "InsufficientGPU": "free or add a GPU, or lower replicas or accelerator.count",
    "Unschedulable": "compare scheduling, accelerator.product and resources with the nodes",
    "VolumeNotBound": "look at the claim with kubectl describe pvc, and at cache.storageClassName",
    "ImagePullBackOff": "check image and imagePullSecrets",
    "InvalidImageName": "correct image",
    "CreateContainerConfigError": "create what is missing, or correct its name in the spec",
    "NodeLost": "repair or delete the node",
    "Evicted": "raise the resource that the node ran out of in resources.requests",
    "ModelNotServed": "compare model.servedNames with the arguments of the pod",
    ENGINE_STALLED: "delete the pod: another takes its place",
    "HTTPError": "read the replica's log",
    "CrashLoopBackOff": "read the log of its former run with kubectl logs --previous",
    "Restarted": "read the log of its former run with kubectl logs --previous",
}
_QUIET = {"Serving", "Draining"}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is judged: the facts, the replicas (worst first), the rollout, and what follows from them at once.

    Attributes:
        serving: replicas that serve.
        outdated: those of them that are of an older revision than the wanted one.
        cause: the replica to tell the user about; None when every one serves or drains.
        blocked: the replica of the wanted revision that cannot come up before a person acts; None without one.
    """

    facts: StatusInputs
    replicas: tuple[Replica, ...]
    rollout: RolloutState
    serving: tuple[Replica, ...]
    outdated: tuple[Replica, ...]
    cause: Replica | None
    blocked: Replica | None

    @property
    def stuck(self) -> bool:
        """The rollout will not go on: its deadline passed, or its pods meet what only a person can cure."""
        refused = self.rollout.observed and refuses_pods(self.rollout.failure)
        return self.rollout.stuck or (not self.rollout.complete and (self.blocked is not None or refused))

    @property
    def enough(self) -> bool:
        """Every wanted replica serves."""
        return len(self.serving) >= self.rollout.wanted

    @property
    def whole(self) -> bool:
        """The wanted revision is rolled out and as many replicas of it as wanted serve."""
        return self.rollout.complete and len(self.serving) - len(self.outdated) >= self.rollout.wanted


def view(facts: StatusInputs) -> Assessment:
    """Look at a server once."""
    replicas = judged_replicas(facts)
    progress = rollout(facts)
    serving = tuple(replica for replica in replicas if replica.serving)
    outdated = tuple(replica for replica in serving if _is_outdated(replica, progress))
    blocked = _blocked(replicas, progress)
    cause = blocked or _cause(replicas, outdated, progress)
    return Assessment(facts, replicas, progress, serving, outdated, cause, blocked)


def _blocked(replicas: tuple[Replica, ...], progress: RolloutState) -> Replica | None:
    """Worst first, and of the wanted revision: what an older one suffers from may be what the change cures."""
    wanted = (r for r in replicas if not r.gone and r.revision and r.revision == progress.revision)
    return next((r for r in wanted if lasts(r.phase, r.reason, r.message)), None)


def _is_outdated(replica: Replica, progress: RolloutState) -> bool:
    if progress.exists and progress.observed and progress.updated >= progress.replicas:
        return False
    return bool(replica.revision) and replica.revision != progress.revision


def _cause(replicas: tuple[Replica, ...], outdated: tuple[Replica, ...], progress: RolloutState) -> Replica | None:
    """The worst replica, of the wanted revision first when a rollout has left older ones serving."""
    troubled = [replica for replica in replicas if replica.phase not in _QUIET]
    living = [replica for replica in troubled if not replica.gone] or troubled
    newest = [replica for replica in living if outdated and replica.revision == progress.revision]
    return next(iter(newest or living), None)


def told(replica: Replica) -> str:
    """`pod: headline`, as the server's one line names it."""
    return f"{replica.pod}: {replica.headline or replica.reason}"


def told_with_way_out(replica: Replica) -> str:
    """`pod: headline` and what to do about it."""
    way_out = replica.cure or _WAYS_OUT.get(replica.reason)
    if replica.reason == "VolumeNotBound" and replica.headline.startswith("claim "):
        way_out = None  # what the claim waits for is told with its own
    if replica.reason.startswith("ExitCode") and "kubectl logs" not in replica.message:
        way_out = f"the kubelet starts it again; correct the spec, or see kubectl logs --previous {replica.pod}"
    return f"{told(replica)}; {way_out}" if way_out else told(replica)


def counted(number: int, what: str) -> str:
    """`1 replica`, `2 replicas`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
