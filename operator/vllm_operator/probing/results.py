"""Which answers count, and who is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.probe_queue import ProbedReplica
from vllm_operator.probing.stall_detector import ANSWERING, forget_engine


def told(health: ReplicaHealth, stalled: str, *, hearsay: bool = False) -> ReplicaHealth:
    """What counts: `health` as the API server of the replica tells it, unless its engine is known to be frozen.

    A replica that cannot be reached is told as such, whatever was known of its engine before.
    """
    if health.reason not in ANSWERING:
        return health
    from_status = bool(stalled) and hearsay
    return replace(health, reason="Stalled" if stalled else "Serving", message=stalled, from_status=from_status)


class ProbeResults:
    """Keeps the last answer of each replica that counts, and tells which servers changed.

    Args:
        on_change: called with the key of a server when the health of one of its pods changed; must not block.
    """

    def __init__(self, on_change: Callable[[Key], None]) -> None:
        self._on_change = on_change

    def answered(self, watched: ProbedReplica, health: ReplicaHealth, asked: float) -> None:
        """Take the answer to a question that was asked at `asked`."""
        self._take(watched, health)
        if watched.unready_since is not None and watched.unready_since <= asked:
            watched.unready_since = None
            self._on_change(watched.target.key)  # also when it answers as ever: a status waits for that

    def turned(self, watched: ProbedReplica, now: float) -> None:
        """Kubernetes has changed its mind. Of one that it calls unready a first bad answer counts, for the kubelet got
        none either; without one it is to be asked at once, as `unready_since` then tells."""
        watched.unready_since = None
        if watched.target.ready or watched.health.reason not in ANSWERING:
            return
        if watched.doubt is not None:
            self._take(watched, watched.doubt)
            return
        watched.unready_since = now

    def retell(self, watched: ProbedReplica) -> None:
        """The engine of a replica froze, or went on."""
        self._tell(watched, told(watched.health, watched.stalled, hearsay=watched.hearsay))

    def _take(self, watched: ProbedReplica, health: ReplicaHealth) -> None:
        """Let an answer count, unless it is the first bad one of a serving replica that Kubernetes calls ready: that
        waits for a second."""
        watched.silent = health.reason == "Timeout"
        counts = health.healthy or watched.doubted or not watched.target.ready
        if watched.health.reason in ANSWERING and not counts:
            watched.doubt = health
            return
        if not health.healthy:
            watched.unready_since = None
        if health.reason == "ConnectionRefused":  # its process is gone, and its engine with it
            forget_engine(watched)
        watched.doubt = None
        watched.served = watched.served or health.healthy
        self._tell(watched, told(health, watched.stalled, hearsay=watched.hearsay))

    def _tell(self, watched: ProbedReplica, health: ReplicaHealth) -> None:
        changed, watched.health = health != watched.health, health
        if changed and not watched.gone:
            self._on_change(watched.target.key)
