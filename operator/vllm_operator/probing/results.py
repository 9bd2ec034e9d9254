"""Decide which probe results are accepted, and report the servers whose health changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.stall_detector import reset_engine
from vllm_operator.probing.timing import REFRESH_SECONDS

if TYPE_CHECKING:
    from vllm_operator.probing.replica import ProbedReplica


@dataclass(eq=False, slots=True)
class ProbeResult:
    """The last accepted result of one replica. Only `ProbeResults` writes to it.

    Attributes:
        health: the last accepted result.
        has_served: the replica has served at least once.
        unconfirmed_failure: failure of the last probe of a serving replica, until a second probe confirms it.
        unready_since: time at which Kubernetes reported a serving replica as not Ready; None once a probe that started
            later has answered.
        starting_since: time of the first probe since the replica started, or since Kubernetes reported it as Ready.
        timed_out: the last probe ran into its timeout.
        refresh_at: time from which a probe requests version and capacity again.
    """

    health: ReplicaHealth = field(default_factory=ReplicaHealth)
    has_served: bool = False
    unconfirmed_failure: ReplicaHealth | None = None
    unready_since: float | None = None
    starting_since: float | None = None
    timed_out: bool = False
    refresh_at: float = 0.0


def effective_health(health: ReplicaHealth, stall: str, *, from_status: bool = False) -> ReplicaHealth:
    """Return `health` as the replica's API server shows it, or as `Stalled` when its engine is known to be stalled.

    A replica that cannot be reached keeps that reason, whatever is known of its engine.

    Args:
        health: the result of a probe, or the last accepted one.
        stall: message of the stall; empty when the engine is not known to be stalled.
        from_status: only the status reports the stall.
    """
    if not health.is_answering:
        return health
    is_reported = bool(stall) and from_status
    return replace(health, reason="Stalled" if stall else "Serving", message=stall, from_status=is_reported)


class ProbeResults:
    """Keep the last accepted result of each replica, and report the servers whose health changed.

    Args:
        on_change: called with the key of a server when the health of one of its pods changed; must not block.
    """

    def __init__(self, on_change: Callable[[Key], None]) -> None:
        self._on_change = on_change

    def on_answer(self, replica: ProbedReplica, health: ReplicaHealth, started: float, *, refreshed: bool) -> None:
        """Judge the answer to a probe.

        Args:
            replica: the replica that answered.
            health: the outcome of the probe.
            started: time at which the probe started, in monotonic seconds.
            refreshed: the probe requested version and capacity too.
        """
        result = replica.result
        if refreshed and health.is_healthy:
            result.refresh_at = started + REFRESH_SECONDS
        self._judge(replica, health, started)
        if result.unready_since is not None and result.unready_since <= started:
            result.unready_since = None
            self._on_change(replica.target.key)  # also when nothing changed: a status waits for this answer

    def on_readiness_change(self, replica: ProbedReplica, now: float) -> None:
        """Record that Kubernetes reports another readiness of the replica.

        One failure of a replica that is not Ready is accepted, since the kubelet got no answer either. Without a
        failure, `unready_since` is set: the replica must be probed at once.
        """
        result = replica.result
        result.unready_since = None
        if replica.target.ready:
            result.starting_since = now  # should it not answer yet, it soon will
        if replica.target.ready or not result.health.is_answering:
            return
        if result.unconfirmed_failure is not None:
            self._judge(replica, result.unconfirmed_failure, now)
            return
        result.unready_since = now

    def on_stall_change(self, replica: ProbedReplica) -> None:
        """Record that the engine of the replica stalled, or makes progress again."""
        self._publish(replica, replica.result.health)

    def _judge(self, replica: ProbedReplica, health: ReplicaHealth, now: float) -> None:
        """Accept a probe result.

        The first failure of a replica that is serving and Ready is held back until a second probe confirms it.
        """
        result = replica.result
        result.timed_out = health.reason == "Timeout"
        starts_again = health.reason == "ConnectionRefused" and result.health.is_answering
        if result.starting_since is None or starts_again:
            result.starting_since = now
        is_conclusive = health.is_healthy or result.unconfirmed_failure is not None or not replica.target.ready
        if result.health.is_answering and not is_conclusive:
            result.unconfirmed_failure = health
            return
        if not health.is_healthy:
            result.unready_since = None
        if health.reason == "ConnectionRefused":  # its process has ended, and its engine with it
            reset_engine(replica)
        result.unconfirmed_failure = None
        result.has_served = result.has_served or health.is_healthy
        self._publish(replica, health)

    def _publish(self, replica: ProbedReplica, health: ReplicaHealth) -> None:
        result, stall = replica.result, replica.stall
        before, result.health = result.health, effective_health(health, stall.message, from_status=stall.from_status)
        if before != result.health and not replica.slot.is_removed:
            self._on_change(replica.target.key)
