"""How long a request of a batch is sent again: longer than the client itself tries, since nobody waits at a screen."""

from __future__ import annotations

import random
from collections.abc import Callable

from vllm_operator.client.errors import VLLMClientError

BASE_DELAY = 0.5
"""Upper bound of the first delay in seconds. It doubles with each failure."""
MAX_DELAY = 15.0
"""Largest upper bound of a delay in seconds: a replica that is back is noticed soon."""


class Patience:
    """The delays of one request: exponential with full jitter, at least what the server asks for, until time is up."""

    def __init__(self, seconds: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        """Begin a request that may be sent again for some seconds after its first failure."""
        self._seconds = seconds
        self._uniform = uniform
        self._failures = 0
        self._give_up_at = 0.0

    def delay(self, error: VLLMClientError, now: float) -> float | None:
        """Return the seconds until the request is sent again, or None when its error is the outcome.

        Args:
            error: the error after all attempts of the client.
            now: time of a monotonic clock, in seconds.
        """
        if not error.retryable:
            return None
        self._failures += 1
        if self._failures == 1:
            self._give_up_at = now + self._seconds
        bound = min(MAX_DELAY, BASE_DELAY * 2.0 ** min(self._failures - 1, 10))
        delay = (error.retry_after or 0.0) + self._uniform(0.0, bound)
        return delay if now + delay <= self._give_up_at else None
