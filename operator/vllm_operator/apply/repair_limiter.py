"""Limit how often one object is repaired, and detect conflicts with other writers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

MAX_REPAIRS = 10
"""Repairs of one object within WINDOW_SECONDS."""
WINDOW_SECONDS = 60.0
CONFLICT_REPAIRS = 3
"""This many repairs within WINDOW_SECONDS are a conflict, which the status reports."""


class RepairLimiter:
    """At most MAX_REPAIRS repairs of one object within WINDOW_SECONDS.

    An object is counted under its UID. One that is deleted again and again has a new UID each time, and is counted
    under its kind, namespace and name.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: defaultdict[str, deque[float]] = defaultdict(deque)
        """Times of the repairs, by the name under which the object is counted."""
        self._last_writes: dict[str, tuple[str, float]] = {}
        """Hash and time of the manifest that was written last, oldest first."""

    def record_write(self, name: str, manifest_hash: str) -> None:
        """Record that a manifest was written to the object."""
        self._last_writes.pop(name, None)
        self._last_writes[name] = (manifest_hash, self._clock())

    def repeats_last_write(self, name: str, manifest_hash: str) -> bool:
        """Return whether this manifest was the last one that was written, within WINDOW_SECONDS."""
        self._forget_expired(self._clock())
        return self._last_writes.get(name, ("", 0.0))[0] == manifest_hash

    def has_conflict(self, name: str) -> bool:
        """Return whether the object was repaired CONFLICT_REPAIRS times within WINDOW_SECONDS."""
        since = self._clock() - WINDOW_SECONDS
        return sum(moment > since for moment in self._repairs.get(name, ())) >= CONFLICT_REPAIRS

    def forget(self, name: str) -> None:
        """Forget the last write of an object that the spec no longer asks for."""
        self._last_writes.pop(name, None)

    def delay(self, name: str) -> float:
        """Count a repair, and return 0; or return the seconds until the object may be repaired again."""
        now = self._clock()
        self._forget_expired(now)
        repairs = self._repairs[name]
        while repairs and repairs[0] <= now - WINDOW_SECONDS:
            repairs.popleft()
        if len(repairs) >= MAX_REPAIRS:
            return repairs[0] + WINDOW_SECONDS - now
        repairs.append(now)
        return 0.0

    def _forget_expired(self, now: float) -> None:
        for name in [name for name, repairs in self._repairs.items() if repairs[-1] <= now - WINDOW_SECONDS]:
            del self._repairs[name]
        while self._last_writes and next(iter(self._last_writes.values()))[1] <= now - WINDOW_SECONDS:
            del self._last_writes[next(iter(self._last_writes))]
