"""A queue of probes in the order of their due time, with a bound on those that run at once."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm_operator.probing.replica import ProbedReplica


class ProbeQueue:
    """A heap of due times, and the replicas whose probes run.

    Args:
        limit: probes that may run at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, ProbedReplica]] = []
        self._entries = itertools.count(1)
        self._valid: dict[ProbedReplica, int] = {}  # replica -> number of the one entry in the heap that counts
        self._running: dict[ProbedReplica, float] = {}  # replica -> start of its probe, earliest first

    @property
    def is_full(self) -> bool:
        """True when the limit of running probes is reached."""
        return len(self._running) >= self._limit

    def add(self, replica: ProbedReplica, due: float) -> None:
        """Set the due time of `replica`, and replace an earlier one."""
        entry = next(self._entries)
        self._valid[replica] = entry
        heapq.heappush(self._heap, (due, entry, replica))

    def remove(self, replica: ProbedReplica) -> None:
        """Drop the due time of `replica`, if it has one."""
        self._valid.pop(replica, None)

    def pop_due(self, now: float) -> ProbedReplica | None:
        """Return the first replica and count its probe as running; None when none is due or the limit is reached."""
        due = self.next_due()
        if self.is_full or due is None or due > now:
            return None
        _, _, replica = heapq.heappop(self._heap)
        del self._valid[replica]
        self.enter(replica, now)
        return replica

    def enter(self, replica: ProbedReplica, now: float) -> None:
        """Count the probe of `replica` as running, even beyond the limit."""
        self._running[replica] = now

    def leave(self, replica: ProbedReplica) -> None:
        """Free the place of `replica`."""
        del self._running[replica]

    def running_since(self, start: float) -> list[ProbedReplica]:
        """Return the replicas whose probes entered at `start` or earlier."""
        return list(itertools.takewhile(lambda replica: self._running[replica] <= start, self._running))

    def next_place(self, longest: float) -> float:
        """Return the time by which a full queue has a free place, when no probe stays longer than `longest` seconds."""
        return next(iter(self._running.values())) + longest

    def next_due(self) -> float | None:
        """Return the first due time; None for an empty queue."""
        while self._heap and self._valid.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)  # removed, or moved to another time
        return self._heap[0][0] if self._heap else None
