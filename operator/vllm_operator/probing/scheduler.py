"""When each replica is asked, and how many at once: slow and silent ones delay nobody."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from vllm_operator.probing.probe_queue import ProbedReplica, ProbeQueue
from vllm_operator.probing.timing import next_probe

logger = logging.getLogger(__name__)

CONCURRENCY = 250
"""Probes at once, apart from those of silent replicas."""

SILENT_TIMES = 4
"""How many times more silent replicas may be waited for: a thousand of them are all asked within a timeout, that is ten
seconds, and when the network comes back they are seen as soon."""

PATIENCE_SECONDS = 0.5
"""After that a probe no longer holds a place that others wait for. When the network to thousands of replicas is cut,
twice `CONCURRENCY` of them a second may be found silent before the others lose their pace."""


class ProbeScheduler:
    """Starts the probe of each replica when it is due and has a place, and plans the next one when it has ended.

    Args:
        ask: asks a replica once; each time in a short task of its own.
        clock: monotonic seconds.
        concurrency: probes at once, apart from those that have to be waited for.
    """

    def __init__(
        self, ask: Callable[[ProbedReplica], Coroutine[Any, Any, None]], clock: Callable[[], float], concurrency: int
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._quick = ProbeQueue(concurrency)
        self._silent = ProbeQueue(concurrency * SILENT_TIMES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._wake_at = math.inf
        self.stopped = False
        """Nothing is planned any more."""

    def plan_now(self, watched: ProbedReplica) -> None:
        """Ask the replica as soon as there is a place."""
        self._plan(watched, self._clock())

    def plan_next(self, watched: ProbedReplica) -> None:
        """Ask the replica in its turn."""
        now = self._clock()
        if watched.unready_since is not None:  # what has just ended began before
            self._plan(watched, now)
            return
        due = next_probe(watched.target, watched.health, served=watched.served, doubted=watched.doubted, now=now)
        self._plan(watched, due)

    def _plan(self, watched: ProbedReplica, due: float) -> None:
        (self._silent if watched.silent else self._quick).add(watched, due)
        if due < self._wake_at:
            self._wake.set()

    def drop(self, watched: ProbedReplica) -> None:
        """Ask the replica no more."""
        watched.gone = True
        watched.ticket = 0
        if watched.task is not None:
            watched.task.cancel()

    async def turn(self) -> None:
        """Start what is due, and wait until something else is."""
        self._wake.clear()
        seconds = self.tick()
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

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

    def _start(self, watched: ProbedReplica) -> None:
        watched.task = asyncio.create_task(self._ask(watched), name=f"probe {watched.target.key} {watched.target.pod}")
        self._tasks.add(watched.task)
        watched.task.add_done_callback(lambda task: self._ended(task, watched))

    def _ended(self, task: asyncio.Task[None], watched: ProbedReplica) -> None:
        assert watched.lane is not None
        if watched.lane.full:
            self._wake.set()  # others wait for the place
        watched.lane.leave(watched)
        self._tasks.discard(task)
        watched.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: probe of %s broke", watched.target.key, watched.target.pod, exc_info=error)
        if watched.gone or self.stopped:
            return
        if watched.urgent:
            watched.urgent = False
            self.plan_now(watched)
        else:
            self.plan_next(watched)

    def stop(self) -> None:
        """Let whoever waits for a `turn` go on, and plan nothing more."""
        self.stopped = True
        self._wake.set()

    def cancel(self) -> None:
        """Take back every probe that runs."""
        self.stopped = True
        for task in self._tasks:
            task.cancel()

    async def settle(self) -> None:
        """Wait until every probe that runs has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
