"""Replicas in the order in which they are to be asked, and how many are asked at once."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass

from vllm_operator.api.observed import ReplicaHealth
from vllm_operator.engine.timing import ProbeTarget


@dataclass(eq=False, slots=True)
class Watched:
    """A replica that is asked again and again.

    Attributes:
        health: the last answer that counts.
        served: it has served at least once.
        doubted: it served, the last probe failed, and a second one is to confirm that.
        silent: the last probe ran into its timeout.
        urgent: the question changed while a probe ran, so its answer is void.
        refresh_at: when it is asked for everything again.
        ticket: of its valid entry in a lane; 0 while it has none.
    """

    target: ProbeTarget
    health: ReplicaHealth
    served: bool = False
    doubted: bool = False
    silent: bool = False
    urgent: bool = False
    refresh_at: float = 0.0
    ticket: int = 0
    task: asyncio.Task[None] | None = None
    gone: bool = False


class Lane:
    """A heap of due times with a bound on what runs at once.

    Silent replicas have a lane of their own, since each of them holds a place for the whole timeout.
    """

    _tickets = itertools.count(1)

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, Watched]] = []
        self.running = 0

    @property
    def full(self) -> bool:
        """As many run as may."""
        return self.running >= self._limit

    def add(self, watched: Watched, due: float) -> None:
        """Ask `watched` at `due`, and at no time that was set before."""
        watched.ticket = next(self._tickets)
        heapq.heappush(self._heap, (due, watched.ticket, watched))

    def take(self, now: float) -> Watched | None:
        """Take the replica that is to be asked first, if it is due and there is a place."""
        due = self.next_due()
        if self.full or due is None or due > now:
            return None
        _, _, watched = heapq.heappop(self._heap)
        watched.ticket = 0
        return watched

    def next_due(self) -> float | None:
        """When the first replica is due; None without one."""
        while self._heap and self._heap[0][2].ticket != self._heap[0][1]:
            heapq.heappop(self._heap)  # removed, or set to another time
        return self._heap[0][0] if self._heap else None
