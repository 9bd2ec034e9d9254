"""Limit a rate: a number at once, then one more after each interval."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Tokens that come back one by one.

    Args:
        capacity: tokens at most, and at the start.
        refill_seconds: seconds until one more token is there.
        clock: monotonic time in seconds.
    """

    def __init__(self, capacity: int, refill_seconds: float, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._refill_seconds = refill_seconds
        self._clock = clock
        self._tokens, self._refilled_at = float(capacity), clock()

    @property
    def is_full(self) -> bool:
        """Return whether all tokens are there, so that a new bucket would be the same."""
        self._refill()
        return self._tokens >= self._capacity

    def has_token(self) -> bool:
        """Return whether a token is there, and leave it."""
        self._refill()
        return self._tokens >= 1

    def take(self) -> bool:
        """Take a token; return False where none is there."""
        if not self.has_token():
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) / self._refill_seconds)
        self._refilled_at = now
