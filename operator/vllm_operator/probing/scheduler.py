"""Start the probe of each replica when it is due, so that slow and silent replicas do not delay the others."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_operator.probing.probe_queue import ProbeQueue
from vllm_operator.probing.timing import next_probe

if TYPE_CHECKING:
    from vllm_operator.probing.replica import ProbedReplica

logger = logging.getLogger(__name__)

CONCURRENCY = 250
"""Probes that run at once, those in the slow queue not counted."""

SLOW_QUEUE_FACTOR = 4
"""Size of the slow queue, as a multiple of the concurrency. The operator waits for a thousand silent replicas at once:
each of them is probed within one timeout of ten seconds, and detected as fast when the network returns."""

SLOW_SECONDS = 0.5
"""Seconds after which a probe moves to the slow queue and frees its place. So twice `CONCURRENCY` replicas can become
silent per second, as when a network is cut, before the probes of the others are late."""


@dataclass(eq=False, slots=True)
class ScheduleSlot:
    """The schedule of one replica. Only `ProbeScheduler` writes to it.

    Attributes:
        task: the probe that runs; None while none runs.
        queue: the queue in which it runs; None while none runs.
        is_void: the target changed while the probe ran: its answer does not count, and the next probe is due at once.
        is_removed: the replica is no longer probed.
    """

    task: asyncio.Task[None] | None = None
    queue: ProbeQueue | None = None
    is_void: bool = False
    is_removed: bool = False


class ProbeScheduler:
    """Start the probe of each replica when it is due and has a place, and schedule the next one when it has ended.

    Args:
        probe: probes a replica once; each call runs in a short task.
        clock: monotonic seconds.
        concurrency: probes that run at once, those in the slow queue not counted.
    """

    def __init__(
        self, probe: Callable[[ProbedReplica], Coroutine[Any, Any, None]], clock: Callable[[], float], concurrency: int
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._fast = ProbeQueue(concurrency)
        self._slow = ProbeQueue(concurrency * SLOW_QUEUE_FACTOR)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._wake_at = math.inf
        self.is_stopped = False
        """No further probe is scheduled."""

    def schedule_now(self, replica: ProbedReplica) -> None:
        """Probe the replica as soon as there is a place."""
        self._schedule(replica, self._clock())

    def schedule_next(self, replica: ProbedReplica) -> None:
        """Probe the replica at its next due time, or at once when it became not Ready during the last probe."""
        now, result = self._clock(), replica.result
        if result.unready_since is not None:  # the last probe began before that
            self._schedule(replica, now)
            return
        unconfirmed = result.unconfirmed_failure is not None
        due = next_probe(
            replica.target,
            result.health,
            has_served=result.has_served,
            unconfirmed=unconfirmed,
            now=now,
            starting_since=result.starting_since,
        )
        self._schedule(replica, due)

    def _schedule(self, replica: ProbedReplica, due: float) -> None:
        queue, other = (self._slow, self._fast) if replica.result.timed_out else (self._fast, self._slow)
        other.remove(replica)
        queue.add(replica, due)
        if due < self._wake_at:
            self._wake.set()

    def restart(self, replica: ProbedReplica) -> None:
        """Void the probe that runs, if any, and probe the replica for its changed target at once."""
        if replica.slot.task is None:
            self.schedule_now(replica)
        else:  # the end of that probe schedules the next one
            replica.slot.is_void = True

    def remove(self, replica: ProbedReplica) -> None:
        """Stop probing the replica."""
        replica.slot.is_removed = True
        self._fast.remove(replica)
        self._slow.remove(replica)
        if replica.slot.task is not None:
            replica.slot.task.cancel()

    async def run_once(self) -> None:
        """Start the probes that are due, and wait until others are."""
        self._wake.clear()
        seconds = self.start_due()
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def start_due(self) -> float:
        """Start every probe that is due and has a place; return the seconds until the next one is due."""
        now = self._clock()
        for replica in self._fast.running_since(now - SLOW_SECONDS):
            self._fast.leave(replica)
            self._slow.enter(replica, now)
            replica.slot.queue = self._slow
        for queue in (self._fast, self._slow):
            while (due := queue.pop_due(now)) is not None:
                self._start(due, queue)
        self._wake_at = min(self._wake_times(), default=math.inf)
        return max(self._wake_at - now, 0.0)

    def _wake_times(self) -> Iterator[float]:
        """Yield the time at which each queue has work; a full slow queue has none until one of its probes ends."""
        if (due := self._fast.next_due()) is not None:
            yield max(due, self._fast.next_place(SLOW_SECONDS)) if self._fast.is_full else due
        if (due := self._slow.next_due()) is not None and not self._slow.is_full:
            yield due

    def _start(self, replica: ProbedReplica, queue: ProbeQueue) -> None:
        target, slot = replica.target, replica.slot
        slot.queue = queue
        slot.task = asyncio.create_task(self._probe(replica), name=f"probe {target.key} {target.pod}")
        self._tasks.add(slot.task)
        slot.task.add_done_callback(lambda task: self._on_probe_end(task, replica))

    def _on_probe_end(self, task: asyncio.Task[None], replica: ProbedReplica) -> None:
        slot = replica.slot
        assert slot.queue is not None
        if slot.queue.is_full:
            self._wake.set()  # others wait for the place
        slot.queue.leave(replica)
        slot.queue = slot.task = None
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: probe of %s broke", replica.target.key, replica.target.pod, exc_info=error)
        if slot.is_removed or self.is_stopped:
            return
        if slot.is_void:
            slot.is_void = False
            self.schedule_now(replica)
        else:
            self.schedule_next(replica)

    def stop(self) -> None:
        """Let the caller of `run_once` continue, and schedule no further probe."""
        self.is_stopped = True
        self._wake.set()

    def cancel_running(self) -> None:
        """Stop, and cancel every probe that runs."""
        self.is_stopped = True
        for task in self._tasks:
            task.cancel()

    async def wait_until_idle(self) -> None:
        """Wait until every probe that runs has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)
