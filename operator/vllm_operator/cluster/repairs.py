"""A budget for repairs: a child that someone keeps changing is not fought over at full speed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

BURST = 10
WINDOW_SECONDS = 60.0


class RepairBudget:
    """At most BURST repairs of one object within WINDOW_SECONDS.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: defaultdict[str, deque[float]] = defaultdict(deque)

    def take(self, uid: str) -> float:
        """0 when the object may be repaired now, which counts; else the seconds until it may."""
        now, repairs = self._clock(), self._repairs[uid]
        while repairs and repairs[0] <= now - WINDOW_SECONDS:
            repairs.popleft()
        if len(repairs) >= BURST:
            return repairs[0] + WINDOW_SECONDS - now
        repairs.append(now)
        return 0.0

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._repairs.pop(uid, None)
