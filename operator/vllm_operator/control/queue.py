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

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
SPREAD_SECONDS = 2.0
"""Within how long keys that failed together are tried again."""

logger = logging.getLogger(__name__)


class KeyedQueue(Generic[K]):
    """Runs `work(key)` for every key that was added, until it is stopped.

    A key added while its pass runs is passed over once more afterwards. `work` returns the seconds after which the
    key is to be looked at again, or None; an exception means again after a growing, jittered pause.

    Args:
        work: one pass; it should raise only what may pass.
        workers: how many keys are worked on at once.
        on_start: told the seconds that a key has waited for its pass; must not block.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[float | None]],
        workers: int,
        on_start: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._work = work
        self._on_start = on_start
        self._slots = asyncio.Semaphore(workers)
        self._running: set[K] = set()
        self._dirty: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._ticket = itertools.count()
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: dict[K, float] = {}
        """Since when a key waits for a slot; the first has waited longest."""
        self._rearmed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: K) -> None:
        """Look at `key` as soon as a slot is free."""
        if key in self._running:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued[key] = time.monotonic()
            self._ready.put_nowait(key)

    def add_later(self, key: K, seconds: float) -> None:
        """Look at `key` after a while; the earlier of two times counts."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, next(self._ticket), key))
            self._rearmed.set()

    def retry_failed(self) -> None:
        """Look again soon at every key that backs off, and count its failures anew: a common cause has passed."""
        for key in self._failures:
            self.add_later(key, random.uniform(0.0, SPREAD_SECONDS))
        self._failures.clear()

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
    def failing(self) -> int:
        """Keys whose last pass failed."""
        return len(self._failures)

    async def run(self) -> None:
        """Work until cancelled; passes under way are then cancelled too."""
        timer = asyncio.create_task(self._run_timers(), name="queue timers")
        try:
            while True:
                key = await self._ready.get()
                await self._slots.acquire()
                self._start(key)
        finally:
            timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(timer, *self._tasks, return_exceptions=True)

    def _start(self, key: K) -> None:
        self._on_start(time.monotonic() - self._queued.pop(key))
        self._running.add(key)
        task = asyncio.create_task(self._pass(key), name=f"reconcile {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, key: K) -> None:
        self._due.pop(key, None)
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
        except Exception as error:
            again = self._back_off(key, error)
        finally:
            self._running.discard(key)
            self._slots.release()
        if key in self._dirty:
            self._dirty.discard(key)
            # A failing pass is repeated by its back-off, however many events come in meanwhile.
            if key not in self._failures:
                self.add(key)
        if again is not None:
            self.add_later(key, again)

    def _back_off(self, key: K, error: Exception) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), LONGEST_RETRY_SECONDS)
        asked = float(getattr(error, "retry_after", None) or 0.0)
        return max(pause * random.uniform(0.8, 1.2), asked)

    async def _run_timers(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._timers and self._timers[0][0] <= loop.time():
                due, _, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    del self._due[key]
                    self.add(key)
            self._rearmed.clear()
            pause = self._timers[0][0] - loop.time() if self._timers else None
            try:
                await asyncio.wait_for(self._rearmed.wait(), pause)
            except TimeoutError:
                pass
