"""Probe every replica at its interval, and report the servers whose health changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

from vllm_operator.kube.key import Key
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.probe import TIMEOUT_SECONDS
from vllm_operator.probing.prober import Prober
from vllm_operator.probing.replica import ProbedReplica
from vllm_operator.probing.results import ProbeResults
from vllm_operator.probing.scheduler import CONCURRENCY, ProbeScheduler
from vllm_operator.probing.service_quality import ServiceQuality
from vllm_operator.probing.stall_detector import StallDetector, reset_engine
from vllm_operator.probing.stall_heuristics import DEADLINE_SECONDS
from vllm_operator.probing.synthetic_completion import POLL_SECONDS
from vllm_operator.probing.targets import ProbeTarget

SLACK_SECONDS = 1.0
"""Seconds by which a whole probe may exceed the timeout of one answer."""

_UNRESPONSIVE = {"Stalled", "Timeout", "Unreachable"}


class ProbeManager:
    """Keep the health of every replica up to date.

    The manager holds the replicas. `ProbeScheduler` decides when to probe each of them, `Prober` probes it,
    `ProbeResults` accepts the results, and `StallDetector` watches its engine.

    One task runs (`run`), and one short task for each probe. All methods belong to the thread of the event loop.

    Args:
        on_change: called with the key of a server when the health of one of its pods changed; must not block.
        clock: monotonic seconds.
        timeout: seconds for each answer of a replica.
        concurrency: probes that run at once, those of slow replicas not counted.
        on_probe: called with the result (`ReplicaHealth.reason`) and the seconds of each probe; must not block.
        deadline: seconds for a synthetic completion of an engine that may be stalled.
        poll: seconds between two samples while a synthetic completion waits.
        on_completion: called with the verdict of each synthetic completion; must not block.
        may_send_key: returns whether the addresses of a server's replicas are current, so that its API key may be sent.
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
        may_send_key: Callable[[Key], bool] = lambda key: True,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._servers: dict[Key, dict[str, ProbedReplica]] = {}
        self._results = ProbeResults(on_change)
        self._stalls = StallDetector(self._results.on_stall_change, clock, deadline, poll, on_completion)
        self._services = ServiceQuality(on_change, clock)
        self._prober = Prober(self._stalls, self._services, self._results, clock, timeout, on_probe, may_send_key)
        self._scheduler = ProbeScheduler(self._prober.probe, clock, concurrency)

    def sync(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        """Replace the targets of a server: probe new ones at once, and keep the results of the others."""
        before = self._servers.pop(key, {})
        after = {target.pod: self._replica(before.pop(target.pod, None), target) for target in targets}
        for removed in before.values():
            self._remove(removed)
        if after:
            self._servers[key] = after

    def add(self, target: ProbeTarget) -> None:
        """Add or update one target: probe a new one at once, and keep the result of another."""
        replicas = self._servers.setdefault(target.key, {})
        replicas[target.pod] = self._replica(replicas.get(target.pod), target)

    def forget(self, key: Key) -> None:
        """Forget a server that is gone: its replicas are no longer probed."""
        self.sync(key, ())
        self._services.forget(key)

    def _replica(self, known: ProbedReplica | None, target: ProbeTarget) -> ProbedReplica:
        """Return the replica of a target: a new one, or `known` with its target updated."""
        if known is not None and known.target.uid == target.uid:
            self._update(known, target)
            return known
        if known is not None:
            self._remove(known)
        replica = ProbedReplica(target, stall=self._stalls.new_record(target))
        self._scheduler.schedule_now(replica)
        return replica

    def _update(self, replica: ProbedReplica, target: ProbeTarget) -> None:
        before, replica.target = replica.target, target
        if before.ready != target.ready:
            self._on_readiness_change(replica)
        if before.expectation != target.expectation:
            self._scheduler.restart(replica)
        elif before.interval != target.interval and replica.slot.task is None:  # else the end of its probe reschedules
            self._scheduler.schedule_next(replica)

    def _on_readiness_change(self, replica: ProbedReplica) -> None:
        self._results.on_readiness_change(replica, self._clock())
        result = replica.result
        starts_to_serve = replica.target.ready and not result.health.is_answering
        if (starts_to_serve or result.unready_since is not None) and replica.slot.task is None:  # else as above
            self._scheduler.schedule_now(replica)

    def _remove(self, replica: ProbedReplica) -> None:
        reset_engine(replica)
        self._scheduler.remove(replica)

    def health(self, key: Key) -> Mapping[str, ReplicaHealth]:
        """Return pod name -> health for the replicas of a server; empty for an unknown server."""
        return {pod: replica.result.health for pod, replica in self._servers.get(key, {}).items()}

    def loads(self, key: Key) -> dict[str, float]:
        """Return pod name -> requests that run or wait in it, of the replicas whose last sample is known."""
        samples = {pod: replica.stall.state.counters for pod, replica in self._servers.get(key, {}).items()}
        return {pod: sum(counters.requests.values()) for pod, counters in samples.items() if counters is not None}

    def service_failure(self, key: Key, revision: str) -> str:
        """Return why a revision of a server serves worse than the one before it; empty while that is not certain."""
        return self._services.failure(key, revision)

    def status_delay(self, key: Key) -> float | None:
        """Return the seconds for which the status of a server is worth waiting for; None when it is not.

        It is while the operator probes a serving replica that Kubernetes has just reported as not Ready. A status
        written before the answer would show a milder state first, and the cause a moment later.
        """
        results = (replica.result for replica in self._servers.get(key, {}).values())
        since = [result.unready_since for result in results if result.unready_since is not None]
        left = max(since, default=-math.inf) + self._timeout + SLACK_SECONDS - self._clock()
        return left if left > 0 else None

    def counts(self) -> dict[Key, tuple[int, int]]:
        """Return for each server the number of its replicas, and of those that are stalled or silent."""
        return {
            key: (len(replicas), sum(replica.result.health.reason in _UNRESPONSIVE for replica in replicas.values()))
            for key, replicas in self._servers.items()
        }

    @property
    def session(self) -> ReplicaSession:
        """The connections to the replicas, for further requests to them."""
        return self._prober.session

    @property
    def replicas(self) -> int:
        """Number of replicas that are probed."""
        return sum(map(len, self._servers.values()))

    async def run(self) -> None:
        """Probe until `stop` is called or the task is cancelled, then close every connection."""
        try:
            while not self._scheduler.is_stopped:
                await self._scheduler.run_once()
        finally:
            await self._close()

    def stop(self) -> None:
        """Let `run` return."""
        self._scheduler.stop()

    async def wait_until_idle(self) -> None:
        """Wait until every probe and every synthetic completion that runs has ended."""
        await self._scheduler.wait_until_idle()
        await self._stalls.wait_until_idle()

    async def _close(self) -> None:
        self._scheduler.cancel_running()
        await self._stalls.close()
        await self.wait_until_idle()
        await self._stalls.close()
        await self._prober.close()
