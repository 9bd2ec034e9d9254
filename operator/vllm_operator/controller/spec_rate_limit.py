"""Limit how often a spec that keeps changing is applied."""

from __future__ import annotations

from collections.abc import Callable, Hashable

BURST = 3
INTERVAL_SECONDS = 0.5


class SpecRateLimiter:
    """A token bucket for one server: BURST versions of its spec at once, then one every INTERVAL_SECONDS.

    Versions in between are skipped. A user who edits sees the result at once; a script in a loop does not start a
    rollout for each of its changes.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._version: Hashable = None
        """The version that was accepted last."""
        self._full_at = float("-inf")
        """When the bucket is full again."""

    def is_new(self, version: Hashable) -> bool:
        """Return whether this version of the spec is another one than the last that was accepted."""
        return version != self._version

    def delay(self, version: Hashable) -> float:
        """Return 0 and take a token when this version of the spec may be applied now; else the seconds until it may."""
        now = self._clock()
        if not self.is_new(version):
            return 0.0
        full_at = max(self._full_at, now)
        wait = full_at - now - (BURST - 1) * INTERVAL_SECONDS
        if wait > 0:
            return wait
        self._version, self._full_at = version, full_at + INTERVAL_SECONDS
        return 0.0
