"""A work queue like client-go's: one reconcile a key at a time, bursts merged, failures backed off."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from vllm_operator.controller.requeue import Requeue
from vllm_operator.kube.bulkhead import CALLER, Bulkhead, BulkheadPermit
from vllm_operator.kube.fair_queue import FairQueue, Turn
from vllm_operator.kube.key import Key

K = TypeVar("K", bound=Hashable)

INITIAL_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
MERGE_SECONDS = 0.1
"""Delay in which watch events that answer a reconcile are merged: the first of them seldom comes alone."""
MANY_PODS = 100
"""Pods of one server from which on its watch events are merged for longer."""
MERGE_SECONDS_PER_POD = 0.001
"""Further delay for each pod: a reconcile takes 0.06 ms for each, so that one server takes a tenth of the time at most,
however fast its pods change."""
MAX_MERGE_SECONDS = 5.0
SPREAD_SECONDS = 2.0
"""Window over which `reset_backoff` spreads the keys that failed together."""
SLOW_SECONDS = 5.0
"""A reconcile that takes longer, because a call hangs, releases its worker. Its key moves to the slow pool."""
MAX_OUTDATED = 64
"""Outdated entries of the heap of delayed keys that are kept, in addition to one for each key."""

logger = logging.getLogger(__name__)


def merge_delay(pods: int, is_settling: bool) -> float:
    """Return the seconds in which the watch events of a server are merged into one reconcile; 0 to reconcile at once.

    Args:
        pods: number of its pods.
        is_settling: its status waits for Kubernetes' controllers, whose watch events come in bursts.
    """
    if pods > MANY_PODS:
        return min(pods * MERGE_SECONDS_PER_POD, MAX_MERGE_SECONDS)
    return MERGE_SECONDS if is_settling else 0.0


def namespace_of(key: object) -> str | None:
    """Return the namespace of a server's key; None for other keys, which share one turn and no limit."""
    return key.namespace if isinstance(key, Key) else None


def share_of(workers: int) -> int:
    """Return how many of the workers one namespace takes at most: three quarters, so that others find one free."""
    return max(1, workers - max(1, workers // 4))


class _WorkerPool(Generic[K]):
    """Keys that wait for the same workers."""

    def __init__(self, workers: int, release_after: float | None) -> None:
        self.ready: FairQueue[K] = FairQueue(share_of(workers), release_after)
        self.bulkhead = Bulkhead(workers, release_after)


class WorkQueue(Generic[K]):
    """Call `reconcile(key)` for every key that was added, until the queue is cancelled.

    A key added while it is being reconciled is reconciled again `MERGE_SECONDS` later. `reconcile` returns when to
    reconcile the key again; an exception means again after an exponential, jittered backoff.

    Keys whose reconcile hangs do not delay others: they have a pool of workers of the same size for themselves
    (`slow_pool`). New keys have another pool, since they may hang too.

    In each pool the namespaces take turns, and one namespace takes three quarters of the workers at most: however many
    servers a tenant creates or changes, a key of another namespace is next after one of each namespace that waits.

    Args:
        reconcile: reconciles one key; it should raise only errors for which a retry may help.
        workers: size of each pool of workers.
        on_start: called with the seconds that a key waited for a worker; must not block.
        is_new: returns true for a key that was never reconciled.
    """

    def __init__(
        self,
        reconcile: Callable[[K], Awaitable[Requeue]],
        workers: int,
        on_start: Callable[[float], None] = lambda seconds: None,
        is_new: Callable[[K], bool] = lambda key: False,
    ) -> None:
        self._reconcile = reconcile
        self._on_start = on_start
        self._is_new = is_new
        self._usual_pool: _WorkerPool[K] = _WorkerPool(workers, SLOW_SECONDS)
        self._new_pool: _WorkerPool[K] = _WorkerPool(workers, SLOW_SECONDS)
        self._slow_pool: _WorkerPool[K] = _WorkerPool(workers, None)
        self._running: dict[K, float] = {}
        """Keys being reconciled and their start by the loop's clock, oldest first."""
        self._slow: set[K] = set()
        """Keys whose last reconcile exceeded `SLOW_SECONDS`."""
        self._dirty: set[K] = set()
        """Keys that were added while they were being reconciled."""
        self._failures: dict[K, int] = {}
        """Failures in a row."""
        self._retry_at: dict[K, float] = {}
        """End of the backoff of a key that failed, by the loop's clock."""
        self._delayed: list[tuple[float, int, K]] = []
        """Heap of keys to add later: time by the loop's clock, tie breaker, key."""
        self._due: dict[K, float] = {}
        """The one entry of `_delayed` that counts for each key; others are outdated."""
        self._tie_breaker = itertools.count()
        self._queued: dict[K, float] = {}
        """Keys that wait for a worker and the monotonic time since when, longest wait first."""
        self._timer: asyncio.TimerHandle | None = None
        """Fires when the first delayed key is due."""
        self._timer_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: K) -> None:
        """Reconcile `key` as soon as a worker is free."""
        if key in self._running:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued[key] = time.monotonic()
            self._pool_for(key).ready.put(namespace_of(key), key, key)

    def add_after(self, key: K, seconds: float) -> None:
        """Add `key` after a delay; of two delays the earlier counts."""
        due = asyncio.get_running_loop().time() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._delayed, (due, next(self._tie_breaker), key))
            self._drop_outdated()
            self._set_timer()

    def reset_backoff(self) -> None:
        """Retry every failed key within `SPREAD_SECONDS` and reset its failures: their common cause is gone."""
        for key in self._failures:
            self.add_after(key, random.uniform(0.0, SPREAD_SECONDS))
        self._failures.clear()
        self._retry_at.clear()

    @property
    def depth(self) -> int:
        """Number of keys that wait for a worker."""
        return len(self._queued)

    @property
    def longest_wait(self) -> float:
        """Seconds that the first key in the queue has waited; 0 when none waits."""
        since = next(iter(self._queued.values()), None)
        return 0.0 if since is None else time.monotonic() - since

    @property
    def running(self) -> int:
        """Number of keys being reconciled."""
        return len(self._running)

    @property
    def longest_reconcile(self) -> float:
        """Seconds since the start of the oldest reconcile under way; 0 when there is none."""
        started = next(iter(self._running.values()), None)
        return 0.0 if started is None else asyncio.get_running_loop().time() - started

    @property
    def failing(self) -> int:
        """Number of keys whose last reconcile failed."""
        return len(self._failures)

    async def run(self) -> None:
        """Run the workers until cancelled; reconciles under way are then cancelled too."""
        try:
            async with asyncio.TaskGroup() as group:
                for pool in (self._usual_pool, self._new_pool, self._slow_pool):
                    group.create_task(self._feed(pool), name="queue")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pool_for(self, key: K) -> _WorkerPool[K]:
        if key in self._slow:
            return self._slow_pool
        return self._new_pool if self._is_new(key) else self._usual_pool

    async def _feed(self, pool: _WorkerPool[K]) -> None:
        while True:
            key, turn = await pool.ready.get()
            self._start(key, await pool.bulkhead.acquire(), turn)

    def _start(self, key: K, permit: BulkheadPermit, turn: Turn) -> None:
        self._on_start(time.monotonic() - self._queued.pop(key))
        self._running[key] = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._process(key, permit, turn), name=f"reconcile {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, key: K, permit: BulkheadPermit, turn: Turn) -> None:
        CALLER.set(key)
        self._due.pop(key, None)
        try:
            requeue = await self._reconcile(key)
            self._failures.pop(key, None)
            self._retry_at.pop(key, None)
        except Exception as error:
            requeue = Requeue.after(self._backoff(key, error))
        finally:
            self._finish(key, permit, turn)
        if key in self._dirty:
            self._dirty.discard(key)
            # A failed reconcile is retried by its backoff, however many watch events arrive in the meantime.
            if key not in self._failures:
                self.add_after(key, MERGE_SECONDS)
        if requeue.seconds is not None:
            self.add_after(key, requeue.seconds)

    def _finish(self, key: K, permit: BulkheadPermit, turn: Turn) -> None:
        duration = asyncio.get_running_loop().time() - self._running.pop(key)
        (self._slow.add if duration >= SLOW_SECONDS else self._slow.discard)(key)
        permit.release()
        turn.release()

    def _backoff(self, key: K, error: Exception) -> float:
        """Return the seconds until the next try.

        A key that fails again before its backoff ended, because a watch event enqueued it, keeps that backoff.
        """
        now = asyncio.get_running_loop().time()
        retry_after = float(getattr(error, "retry_after", None) or 0.0)
        if (remaining := self._retry_at.get(key, now) - now) > 0:
            return max(remaining, retry_after)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(INITIAL_BACKOFF_SECONDS * 2 ** min(failures - 1, 16), MAX_BACKOFF_SECONDS)
        delay = max(delay * random.uniform(0.8, 1.2), retry_after)
        self._retry_at[key] = now + delay
        return delay

    def _drop_outdated(self) -> None:
        """Rebuild the heap once most of its entries are outdated: each reconcile leaves one, due up to 30 min later."""
        if len(self._delayed) > 2 * len(self._due) + MAX_OUTDATED:
            self._delayed = [entry for entry in self._delayed if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._delayed)

    def _set_timer(self) -> None:
        first = self._delayed[0][0] if self._delayed else float("inf")
        if first >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = asyncio.get_running_loop().call_at(first, self._add_due_keys), first

    def _add_due_keys(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = asyncio.get_running_loop().time()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_timer()
