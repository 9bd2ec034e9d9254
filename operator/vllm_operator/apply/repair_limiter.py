"""Limits of repair: what someone keeps changing, and what the API server itself makes of a manifest."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

BURST = 10
WINDOW_SECONDS = 60.0
FIGHT = 3
"""So many repairs within WINDOW_SECONDS are a fight, of which the user is told."""


class RepairLimiter:
    """At most BURST repairs of one object within WINDOW_SECONDS.

    An object has its UID for a name; one that is deleted again and again, and has another UID each time, its place.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: defaultdict[str, deque[float]] = defaultdict(deque)
        self._last: dict[str, tuple[str, float]] = {}
        """The manifest that was written last, by its hash, and when; the oldest comes first."""

    def wrote(self, name: str, applied: str) -> None:
        """Take note that the manifest with the hash `applied` was written to the object."""
        self._last.pop(name, None)
        self._last[name] = (applied, self._clock())

    def repeats(self, name: str, applied: str) -> bool:
        """Whether writing this manifest would only repeat what was written within WINDOW_SECONDS."""
        self._forget_old(self._clock())
        return self._last.get(name, ("", 0.0))[0] == applied

    def fights(self, name: str) -> bool:
        """Whether the object was repaired FIGHT times within WINDOW_SECONDS."""
        since = self._clock() - WINDOW_SECONDS
        return sum(moment > since for moment in self._repairs.get(name, ())) >= FIGHT

    def forget(self, name: str) -> None:
        """The object is no longer wanted: one of the name is another one."""
        self._last.pop(name, None)

    def take(self, name: str) -> float:
        """0 when the object may be repaired now, which counts; else the seconds until it may."""
        now = self._clock()
        self._forget_old(now)
        repairs = self._repairs[name]
        while repairs and repairs[0] <= now - WINDOW_SECONDS:
            repairs.popleft()
        if len(repairs) >= BURST:
            return repairs[0] + WINDOW_SECONDS - now
        repairs.append(now)
        return 0.0

    def _forget_old(self, now: float) -> None:
        for name in [name for name, repairs in self._repairs.items() if repairs[-1] <= now - WINDOW_SECONDS]:
            del self._repairs[name]
        while self._last and next(iter(self._last.values()))[1] <= now - WINDOW_SECONDS:
            del self._last[next(iter(self._last))]
