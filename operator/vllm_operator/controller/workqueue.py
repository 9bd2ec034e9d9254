"""A queue of keys: at most one pass a key at a time, many keys in parallel, bursts merged, failures backed off."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from vllm_operator.kube.bulkhead import OWNER, Bulkhead, BulkheadSlot

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
MERGE_SECONDS = 0.1
"""How long answers to a pass are gathered: the first of them seldom comes alone."""
SPREAD_SECONDS = 2.0
"""Within how long keys that failed together are tried again."""
PATIENCE_SECONDS = 5.0
"""A pass that takes longer, since a call hangs, gives its slot to another; the next pass of its key is made aside."""

logger = logging.getLogger(__name__)


class _WorkerPool(Generic[K]):
    """Keys that wait for each other, and for no other key."""

    def __init__(self, workers: int, patience: float | None) -> None:
        self.ready: asyncio.Queue[K] = asyncio.Queue()
        self.slots = Bulkhead(workers, patience)


class WorkQueue(Generic[K]):
    """Runs `work(key)` for every key that was added, until it is stopped.

    A key added while its pass runs is passed over once more, a moment afterwards. `work` returns the seconds after
    which the key is to be looked at again, or None; an exception means again after a growing, jittered pause.

    Keys whose passes hang do not hold up others: they are worked on aside, as many at once as the others. So are new
    keys, of which it is not known yet.

    Args:
        work: one pass; it should raise only what may pass.
        workers: how many keys are worked on at once, in each lane.
        on_start: told the seconds that a key has waited for its pass; must not block.
        is_new: whether nothing is known yet of how the passes over a key go.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        workers: int,
        on_start: Callable[[float], None] = lambda seconds: None,
        is_new: Callable[[K], bool] = lambda key: False,
    ) -> None:
        self._work = work
        self._on_start = on_start
        self._is_new = is_new
        self._usual: _WorkerPool[K] = _WorkerPool(workers, PATIENCE_SECONDS)
        self._new: _WorkerPool[K] = _WorkerPool(workers, PATIENCE_SECONDS)
        self._aside: _WorkerPool[K] = _WorkerPool(workers, None)
        self._running: dict[K, float] = {}
        """Passes under way, and when they began by the clock of the loop; the oldest comes first."""
        self._slow: set[K] = set()
        """Keys whose last pass outstayed the patience."""
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._retries: dict[K, float] = {}
        """When a key that failed is tried again by its back-off."""
        self._timers: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._ticket = itertools.count()
        self._queued: dict[K, float] = {}
        """Since when a key waits for a slot; the first has waited longest."""
        self._alarm: asyncio.TimerHandle | None = None
        """Rings when the first key is due."""
        self._alarm_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: K) -> None:
        """Look at `key` as soon as a slot is free."""
        if key in self._running:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued[key] = time.monotonic()
            self._lane(key).ready.put_nowait(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Look at `key` after a while; the earlier of two times counts."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, next(self._ticket), key))
            self._set_alarm()

    def retry_failed(self) -> None:
        """Look again soon at every key that backs off, and count its failures anew: a common cause has passed."""
        for key in self._failures:
            self.add_later(key, random.uniform(0.0, SPREAD_SECONDS))
        self._failures.clear()
        self._retries.clear()

    @property
    def depth(self) -> int:
        """Keys that wait for a slot."""
        return len(self._queued)

    @property
    def age(self) -> float:
        """Seconds that the first of them has waited."""
        first = next(iter(self._queued.values()), None)
        return 0.0 if first is None else time.monotonic() - first

    @property
    def running(self) -> int:
        """Passes under way."""
        return len(self._running)

    @property
    def longest(self) -> float:
        """Seconds that the oldest pass under way has taken."""
        began = next(iter(self._running.values()), None)
        return 0.0 if began is None else asyncio.get_running_loop().time() - began

    @property
    def failing(self) -> int:
        """Keys whose last pass failed."""
        return len(self._failures)

    async def run(self) -> None:
        """Work until cancelled; passes under way are then cancelled too."""
        try:
            async with asyncio.TaskGroup() as group:
                for lane in (self._usual, self._new, self._aside):
                    group.create_task(self._feed(lane), name="queue")
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, key: K) -> _WorkerPool[K]:
        if key in self._slow:
            return self._aside
        return self._new if self._is_new(key) else self._usual

    async def _feed(self, lane: _WorkerPool[K]) -> None:
        while True:
            key = await lane.ready.get()
            self._start(key, await lane.slots.take())

    def _start(self, key: K, slot: BulkheadSlot) -> None:
        self._on_start(time.monotonic() - self._queued.pop(key))
        self._running[key] = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._pass(key, slot), name=f"reconcile {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, key: K, slot: BulkheadSlot) -> None:
        OWNER.set(key)
        self._due.pop(key, None)
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
            self._retries.pop(key, None)
        except Exception as error:
            again = self._back_off(key, error)
        finally:
            self._end(key, slot)
        if key in self._dirty:
            self._dirty.discard(key)
            # A failing pass is repeated by its back-off, however many events come in meanwhile.
            if key not in self._failures:
                self.add_later(key, MERGE_SECONDS)
        if again is not None:
            self.add_later(key, again)

    def _end(self, key: K, slot: BulkheadSlot) -> None:
        lasted = asyncio.get_running_loop().time() - self._running.pop(key)
        (self._slow.add if lasted >= PATIENCE_SECONDS else self._slow.discard)(key)
        slot.leave()

    def _back_off(self, key: K, error: Exception) -> float:
        """Seconds until the next try. A pass that an event caused meanwhile makes the pause no longer."""
        now = asyncio.get_running_loop().time()
        asked = float(getattr(error, "retry_after", None) or 0.0)
        if (left := self._retries.get(key, now) - now) > 0:
            return max(left, asked)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), LONGEST_RETRY_SECONDS)
        pause = max(pause * random.uniform(0.8, 1.2), asked)
        self._retries[key] = now + pause
        return pause

    def _set_alarm(self) -> None:
        first = self._timers[0][0] if self._timers else float("inf")
        if first >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = asyncio.get_running_loop().call_at(first, self._ring), first

    def _ring(self) -> None:
        """Look at the keys that are due."""
        self._alarm, self._alarm_at = None, float("inf")
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_alarm()
