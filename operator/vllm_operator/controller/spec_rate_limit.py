"""How often a spec that keeps changing is carried out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

BURST = 3
INTERVAL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Taken:
    version: Hashable
    full_at: float
    """When every permit is there again."""


class SpecRateLimiter:
    """BURST versions of one spec at once, then one every INTERVAL_SECONDS: those in between are passed over.

    Someone who types is answered at once; a script in a loop does not make a rollout of each of its changes.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: dict[Hashable, _Taken] = {}

    def take(self, key: Hashable, version: Hashable) -> float:
        """0 when this version of the spec may be carried out now, which counts; else the seconds until it may."""
        now, last = self._clock(), self._taken.get(key)
        if last is not None and last.version == version:
            return 0.0
        full_at = max(last.full_at if last else now, now)
        wait = full_at - now - (BURST - 1) * INTERVAL_SECONDS
        if wait > 0:
            return wait
        self._taken[key] = _Taken(version, full_at + INTERVAL_SECONDS)
        return 0.0

    def forget(self, key: Hashable) -> None:
        """The server is gone."""
        self._taken.pop(key, None)
