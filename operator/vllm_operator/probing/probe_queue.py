"""Replicas in the order in which they are to be asked, and how many are asked at once."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.stall_heuristics import StallState
from vllm_operator.probing.targets import ProbeTarget


@dataclass(eq=False, slots=True)
class ProbedReplica:
    """A replica that is asked again and again.

    Attributes:
        health: the last answer that counts.
        served: it has served at least once.
        doubt: it served, the last probe failed in this way, and a second one is to confirm that.
        unready_since: since when Kubernetes calls it unready, while no answer to a later question has told more.
        silent: the last probe ran into its timeout.
        urgent: the question changed while a probe ran, so its answer is void.
        refresh_at: when it is asked for everything again.
        ticket: of its valid entry in a lane; 0 while it has none.
        lane: where its probe has its place; None while none runs.
        memory: what its engine's numbers looked like.
        stalled: its engine is frozen, in words; empty when it is not known to be.
        hearsay: only the status says so.
        asking: waits for a completion.
    """

    target: ProbeTarget
    health: ReplicaHealth
    served: bool = False
    doubt: ReplicaHealth | None = None
    unready_since: float | None = None
    silent: bool = False
    urgent: bool = False
    refresh_at: float = 0.0
    ticket: int = 0
    task: asyncio.Task[None] | None = None
    lane: ProbeQueue | None = None
    gone: bool = False
    memory: StallState = field(default_factory=StallState)
    stalled: str = ""
    hearsay: bool = False
    asking: asyncio.Task[None] | None = None

    @property
    def doubted(self) -> bool:
        """Whether a failure waits to be confirmed."""
        return self.doubt is not None


class ProbeQueue:
    """A heap of due times with a bound on what runs at once.

    Silent replicas have a lane of their own, since each of them holds a place for the whole timeout. Whoever has just
    become slow or silent is moved there (see `overstayed`), so that its place is free for others.
    """

    _tickets = itertools.count(1)

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, ProbedReplica]] = []
        self._running: dict[ProbedReplica, float] = {}  # in the order in which they entered

    @property
    def full(self) -> bool:
        """As many run as may, or more."""
        return len(self._running) >= self._limit

    def add(self, watched: ProbedReplica, due: float) -> None:
        """Ask `watched` at `due`, and at no time that was set before."""
        watched.ticket = next(self._tickets)
        heapq.heappush(self._heap, (due, watched.ticket, watched))

    def take(self, now: float) -> ProbedReplica | None:
        """Take the replica that is to be asked first, if it is due and there is a place; that is then its own."""
        due = self.next_due()
        if self.full or due is None or due > now:
            return None
        _, _, watched = heapq.heappop(self._heap)
        watched.ticket = 0
        self.enter(watched, now)
        return watched

    def enter(self, watched: ProbedReplica, now: float) -> None:
        """Give `watched` a place, even when there is none left."""
        if watched.lane is not None:
            watched.lane.leave(watched)
        self._running[watched] = now
        watched.lane = self

    def leave(self, watched: ProbedReplica) -> None:
        """Take its place back."""
        del self._running[watched]
        watched.lane = None

    def overstayed(self, since: float) -> list[ProbedReplica]:
        """Those that have had their place since `since` or longer."""
        return list(itertools.takewhile(lambda watched: self._running[watched] <= since, self._running))

    def next_place(self, patience: float) -> float:
        """When the first place of a full lane is free at the latest, if nobody stays longer than `patience` seconds."""
        return next(iter(self._running.values())) + patience

    def next_due(self) -> float | None:
        """When the first replica is due; None without one."""
        while self._heap and self._heap[0][2].ticket != self._heap[0][1]:
            heapq.heappop(self._heap)  # removed, or set to another time
        return self._heap[0][0] if self._heap else None
