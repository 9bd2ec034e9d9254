"""Asks every replica at its interval and tells which servers changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.probe import TIMEOUT_SECONDS
from vllm_operator.probing.probe_queue import ProbedReplica
from vllm_operator.probing.prober import Prober
from vllm_operator.probing.results import ProbeResults
from vllm_operator.probing.scheduler import CONCURRENCY, ProbeScheduler
from vllm_operator.probing.stall_detector import StallDetector, forget_engine
from vllm_operator.probing.stall_heuristics import DEADLINE_SECONDS, StallState
from vllm_operator.probing.synthetic_completion import POLL_SECONDS
from vllm_operator.probing.targets import ProbeTarget

SLACK_SECONDS = 1.0
"""How much longer than its timeout a probe may take as a whole."""

_TROUBLED = {"Stalled", "Timeout", "Unreachable"}


class ProbeManager:
    """Keeps the health of every replica up to date.

    It knows which replicas there are; `ProbeScheduler` when each is asked, `Prober` how, and `ProbeResults` what counts
    of it.

    One task runs (`run`); each probe is a short task of its own. All methods belong to the event loop's thread.

    Args:
        on_change: called with the key of a server when the health of one of its pods changed; must not block.
        clock: monotonic seconds.
        timeout: seconds for each answer of a replica.
        concurrency: probes at once, apart from those that have to be waited for.
        on_probe: told what came of a probe, and its seconds; must not block.
        deadline: seconds for a completion of an engine that may be frozen.
        poll: seconds between two looks at its numbers meanwhile.
        on_completion: told the verdict of each completion; must not block.
    """

    def __init__(
        self,
        on_change: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT_SECONDS,
        concurrency: int = CONCURRENCY,
        on_probe: Callable[[str, float], None] = lambda result, seconds: None,
        deadline: float = DEADLINE_SECONDS,
        poll: float = POLL_SECONDS,
        on_completion: Callable[[str], None] = lambda verdict: None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._deadline = deadline
        self._servers: dict[Key, dict[str, ProbedReplica]] = {}
        self._results = ProbeResults(on_change)
        self._stalls = StallDetector(self._results.retell, clock, poll, on_completion)
        self._asker = Prober(self._stalls, self._results, clock, timeout, on_probe)
        self._schedule = ProbeScheduler(self._asker.ask, clock, concurrency)

    def sync(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        """Replace the pods of a server. New ones are asked at once; what is known of the others stays."""
        before = self._servers.pop(key, {})
        after = {target.pod: self._watched(before.pop(target.pod, None), target) for target in targets}
        for removed in before.values():
            self._forget(removed)
        if after:
            self._servers[key] = after

    def _watched(self, old: ProbedReplica | None, target: ProbeTarget) -> ProbedReplica:
        if old is None or old.target.uid != target.uid:
            if old is not None:
                self._forget(old)
            return self._new(target)
        former, old.target = old.target, target
        if former.ready != target.ready:
            self._turned(old)
        if old.task is not None:  # the end of the probe that runs plans the next one
            old.urgent = old.urgent or former.expectation != target.expectation
        elif former.expectation != target.expectation:
            self._schedule.plan_now(old)
        elif former.interval != target.interval:
            self._schedule.plan_next(old)
        return old

    def _new(self, target: ProbeTarget) -> ProbedReplica:
        new = ProbedReplica(
            target, ReplicaHealth(), memory=StallState(deadline=self._deadline), stalled=target.reported_stall
        )
        new.hearsay = bool(target.reported_stall)
        self._schedule.plan_now(new)
        return new

    def _turned(self, watched: ProbedReplica) -> None:
        """Kubernetes has changed its mind whether the replica is ready."""
        self._results.turned(watched, self._clock())
        if watched.unready_since is not None and watched.task is None:  # else its end plans the next one
            self._schedule.plan_now(watched)

    def _forget(self, watched: ProbedReplica) -> None:
        forget_engine(watched)
        self._schedule.drop(watched)

    def health(self, key: Key) -> Mapping[str, ReplicaHealth]:
        """Pod name -> its health, for the pods of a server; empty for a server that is not known."""
        return {pod: watched.health for pod, watched in self._servers.get(key, {}).items()}

    def status_delay(self, key: Key) -> float | None:
        """Seconds for which a status is worth waiting for, because a serving replica that Kubernetes has just called
        unready is being asked: else something milder would be told, and the cause just after. None when none is."""
        replicas = self._servers.get(key, {}).values()
        since = [watched.unready_since for watched in replicas if watched.unready_since is not None]
        left = max(since, default=-math.inf) + self._timeout + SLACK_SECONDS - self._clock()
        return left if left > 0 else None

    def unresponsive(self) -> list[Key]:
        """The servers of all replicas that are frozen or silent, once for each such replica."""
        return [
            key
            for key, replicas in self._servers.items()
            for watched in replicas.values()
            if watched.health.reason in _TROUBLED
        ]

    @property
    def replicas(self) -> int:
        """Replicas that are asked."""
        return sum(map(len, self._servers.values()))

    async def run(self) -> None:
        """Ask until `stop` is called or the task is cancelled, then close every connection."""
        try:
            while not self._schedule.stopped:
                await self._schedule.turn()
        finally:
            await self._close()

    def stop(self) -> None:
        """Let `run` end."""
        self._schedule.stop()

    def tick(self) -> float:
        """Start every probe that is due and has a place; return the seconds until the next one is due."""
        return self._schedule.tick()

    async def settle(self) -> None:
        """Wait until every probe that runs, and every completion, has ended."""
        await self._schedule.settle()
        await self._stalls.settle()

    async def _close(self) -> None:
        self._schedule.cancel()
        await self._stalls.close()
        await self.settle()
        await self._stalls.close()
        await self._asker.close()
