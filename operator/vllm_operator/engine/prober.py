"""Asks every replica at its interval and tells which servers changed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import aiohttp

from vllm_operator.api.observed import ReplicaHealth
from vllm_operator.engine.completion import POLL_SECONDS
from vllm_operator.engine.http import ProbeError, Replica, replica_client
from vllm_operator.engine.lane import Lane, Watched
from vllm_operator.engine.probe import TIMEOUT_SECONDS, authorization, probe
from vllm_operator.engine.stalls import ANSWERING, Stalls, told
from vllm_operator.engine.suspicion import DEADLINE_SECONDS, Memory
from vllm_operator.engine.timing import REFRESH_SECONDS, ProbeTarget, next_probe

logger = logging.getLogger(__name__)

CONCURRENCY = 250
"""Probes at once, apart from those of silent replicas."""

SILENT_TIMES = 4
"""How many times more silent replicas may be waited for: a thousand of them are all asked within a timeout, that is ten
seconds, and when the network comes back they are seen as soon."""

PATIENCE_SECONDS = 0.5
"""After that a probe no longer holds a place that others wait for. When the network to thousands of replicas is cut,
twice `CONCURRENCY` of them a second may be found silent before the others lose their pace."""

SLACK_SECONDS = 1.0
"""How much longer than its timeout a probe may take as a whole."""

_TROUBLED = {"Stalled", "Timeout", "Unreachable"}


class Prober:
    """Keeps the health of every replica up to date.

    One task runs (`run`); each probe is a short task of its own. All methods belong to the event loop's thread.

    Args:
        on_change: called with `namespace/name` when the health of one of its pods changed; must not block.
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
        on_change: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT_SECONDS,
        concurrency: int = CONCURRENCY,
        on_probe: Callable[[str, float], None] = lambda result, seconds: None,
        deadline: float = DEADLINE_SECONDS,
        poll: float = POLL_SECONDS,
        on_completion: Callable[[str], None] = lambda verdict: None,
    ) -> None:
        self._on_change = on_change
        self._on_probe = on_probe
        self._clock = clock
        self._timeout = timeout
        self._deadline = deadline
        self._stalls = Stalls(self._retell, clock, poll, on_completion)
        self._servers: dict[str, dict[str, Watched]] = {}
        self._quick = Lane(concurrency)
        self._silent = Lane(concurrency * SILENT_TIMES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: aiohttp.ClientSession | None = None
        self._wake = asyncio.Event()
        self._wake_at = math.inf
        self._stopped = False

    def set_targets(self, server_key: str, targets: Iterable[ProbeTarget]) -> None:
        """Replace the pods of a server. New ones are asked at once; what is known of the others stays."""
        before = self._servers.pop(server_key, {})
        after = {target.pod: self._watched(before.pop(target.pod, None), target) for target in targets}
        for removed in before.values():
            self._forget(removed)
        if after:
            self._servers[server_key] = after

    def health(self, server_key: str) -> Mapping[str, ReplicaHealth]:
        """Pod name -> its health, for the pods of a server; empty for a server that is not known."""
        return {pod: watched.health for pod, watched in self._servers.get(server_key, {}).items()}

    def pause(self, server_key: str) -> float | None:
        """Seconds for which a status is worth waiting for, because a serving replica that Kubernetes has just called
        unready is being asked: else something milder would be told, and the cause just after. None when none is."""
        replicas = self._servers.get(server_key, {}).values()
        since = [watched.unready_since for watched in replicas if watched.unready_since is not None]
        left = max(since, default=-math.inf) + self._timeout + SLACK_SECONDS - self._clock()
        return left if left > 0 else None

    def troubled(self) -> list[str]:
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
            while not self._stopped:
                self._wake.clear()
                await self._sleep(self.tick())
        finally:
            await self._close()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopped = True
        self._wake.set()

    def tick(self) -> float:
        """Start every probe that is due and has a place; return the seconds until the next one is due."""
        now = self._clock()
        for slow in self._quick.overstayed(now - PATIENCE_SECONDS):
            self._silent.enter(slow, now)
        for lane in (self._quick, self._silent):
            while (watched := lane.take(now)) is not None:
                self._start(watched)
        self._wake_at = min(self._dues(), default=math.inf)
        return max(self._wake_at - now, 0.0)

    def _dues(self) -> Iterator[float]:
        """When there is something to do in each lane; a full one of silent replicas waits for an end."""
        for lane in (self._quick, self._silent):
            due = lane.next_due()
            if due is not None and not lane.full:
                yield due
            elif due is not None and lane is self._quick:
                yield max(due, lane.next_place(PATIENCE_SECONDS))

    async def settle(self) -> None:
        """Wait until every probe that runs, and every completion, has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._stalls.settle()

    def _watched(self, old: Watched | None, target: ProbeTarget) -> Watched:
        now = self._clock()
        if old is None or old.target.uid != target.uid:
            if old is not None:
                self._forget(old)
            new = Watched(target, ReplicaHealth(), memory=Memory(deadline=self._deadline), stalled=target.stalled)
            new.hearsay = bool(target.stalled)
            self._plan(new, now)
            return new
        former, old.target = old.target, target
        if former.ready != target.ready:
            self._turned(old)
        if old.task is not None:  # the end of the probe that runs plans the next one
            old.urgent = old.urgent or former.question != target.question
        elif former.question != target.question:
            self._plan(old, now)
        elif former.interval != target.interval:
            self._plan_next(old)
        return old

    def _turned(self, watched: Watched) -> None:
        """Kubernetes has changed its mind. Of one that it calls unready a first bad answer counts, for the kubelet got
        none either; without one it is asked at once."""
        watched.unready_since = None
        if watched.target.ready or watched.health.reason not in ANSWERING:
            return
        if watched.doubt is not None:
            self._take(watched, watched.doubt)
            return
        watched.unready_since = self._clock()
        if watched.task is None:  # else its end plans the next one
            self._plan(watched, self._clock())

    def _forget(self, watched: Watched) -> None:
        watched.gone = True
        watched.ticket = 0
        self._stalls.forget(watched)
        if watched.task is not None:
            watched.task.cancel()

    def _plan_next(self, watched: Watched) -> None:
        now = self._clock()
        if watched.unready_since is not None:  # what has just ended began before
            self._plan(watched, now)
            return
        due = next_probe(watched.target, watched.health, served=watched.served, doubted=watched.doubted, now=now)
        self._plan(watched, due)

    def _plan(self, watched: Watched, due: float) -> None:
        (self._silent if watched.silent else self._quick).add(watched, due)
        if due < self._wake_at:
            self._wake.set()

    def _start(self, watched: Watched) -> None:
        watched.task = asyncio.create_task(self._ask(watched), name=f"probe {watched.target.key} {watched.target.pod}")
        self._tasks.add(watched.task)
        watched.task.add_done_callback(lambda task: self._ended(task, watched))

    async def _ask(self, watched: Watched) -> None:
        now = self._clock()
        refresh = now >= watched.refresh_at
        numbers: list[bytes] | None = [] if self._stalls.wants_numbers(watched) else None
        health = await self._probe(watched.target, told(watched.health, ""), refresh, numbers)
        self._on_probe(health.reason, self._clock() - now)
        if watched.urgent:
            return
        if health.healthy and numbers is not None:
            self._look(watched, b"".join(numbers))
        if refresh and health.healthy:
            watched.refresh_at = now + REFRESH_SECONDS
        self._take(watched, health)
        if watched.unready_since is not None and watched.unready_since <= now:
            watched.unready_since = None
            self._on_change(watched.target.key)  # also when it answers as ever: a status waits for that

    async def _probe(
        self, target: ProbeTarget, known: ReplicaHealth, refresh: bool, numbers: list[bytes] | None
    ) -> ReplicaHealth:
        self._client = self._client or replica_client()
        try:
            key = target.current_key()
        except Exception as error:
            # Only the type: the text of the error may hold the key.
            words = f"the API key of security.apiKeySecretRef cannot be read ({type(error).__name__})"
            return replace(known, reason="Unauthorized", message=words)
        asked = (target.base_url, target.served_names, key, known)
        take = None if numbers is None else numbers.append
        return await probe(self._client, *asked, refresh=refresh, numbers=take, timeout=self._timeout)

    def _look(self, watched: Watched, numbers: bytes) -> None:
        """Look after the engine of a replica that answers."""
        assert self._client is not None
        replica = Replica(self._client, watched.target.base_url, self._timeout)
        try:
            self._stalls.saw(watched, numbers, replica, authorization(watched.target.current_key()))
        except ProbeError:
            pass  # the key has just become unusable, which the next probe tells

    def _ended(self, task: asyncio.Task[None], watched: Watched) -> None:
        assert watched.lane is not None
        if watched.lane.full:
            self._wake.set()  # others wait for the place
        watched.lane.leave(watched)
        self._tasks.discard(task)
        watched.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: probe of %s broke", watched.target.key, watched.target.pod, exc_info=error)
        if watched.gone or self._stopped:
            return
        if watched.urgent:
            watched.urgent = False
            self._plan(watched, self._clock())
        else:
            self._plan_next(watched)

    def _take(self, watched: Watched, health: ReplicaHealth) -> None:
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
            self._stalls.forget(watched)
        watched.doubt = None
        watched.served = watched.served or health.healthy
        self._tell(watched, told(health, watched.stalled, hearsay=watched.hearsay))

    def _retell(self, watched: Watched) -> None:
        """The engine of a replica froze, or went on."""
        self._tell(watched, told(watched.health, watched.stalled, hearsay=watched.hearsay))

    def _tell(self, watched: Watched, health: ReplicaHealth) -> None:
        changed, watched.health = health != watched.health, health
        if changed and not watched.gone:
            self._on_change(watched.target.key)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _close(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await self._stalls.close()
        await self.settle()
        await self._stalls.close()
        if self._client is not None:
            await self._client.close()
