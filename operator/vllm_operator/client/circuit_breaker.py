"""A circuit breaker: an endpoint that fails again and again receives no requests for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

from vllm_operator.client.config import CircuitBreakerConfig


class BreakerState(Enum):
    """State of a circuit breaker."""

    CLOSED = "closed"
    """Requests pass."""
    OPEN = "open"
    """No request passes."""
    HALF_OPEN = "half_open"
    """One request at a time passes, to test the endpoint."""


OnChange = Callable[[BreakerState, BreakerState], None]


class BreakerPermit:
    """The right to send one request. Exactly one of its methods counts; later calls change nothing."""

    __slots__ = ("_breaker", "_done", "_generation")

    def __init__(self, breaker: CircuitBreaker, generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._done = False

    def success(self) -> None:
        """Report that the endpoint answered."""
        self._finish(True)

    def failure(self) -> None:
        """Report that the endpoint failed."""
        self._finish(False)

    def release(self) -> None:
        """Give the permit back without a result: the caller gave up, or the error says nothing about the endpoint."""
        self._finish(None)

    def _finish(self, result: bool | None) -> None:
        if not self._done:
            self._done = True
            self._breaker.finish(self._generation, result)


class CircuitBreaker:
    """Counts failures in a row. Safe under threads and asyncio: no method waits for more than a short lock.

    A result counts only for the state in which its request started: an answer to a request that was sent before the
    breaker opened neither closes it nor ends its test.
    """

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: OnChange | None = None,
    ) -> None:
        self._config = config or CircuitBreakerConfig()
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._failures = 0
        self._successes = 0
        self._probing = False
        self._opened_at = 0.0

    @property
    def state(self) -> BreakerState:
        """The state now: an open breaker whose time is over reads as half-open."""
        with self._lock:
            return BreakerState.HALF_OPEN if self._is_due() else self._state

    @property
    def seconds_until_test(self) -> float:
        """Seconds until a request may pass; 0 when one may pass now, or a test is running."""
        with self._lock:
            if self._state is not BreakerState.OPEN:
                return 0.0
            return max(0.0, self._opened_at + self._config.recovery_timeout - self._clock())

    def admits(self) -> bool:
        """Return whether a request would pass now, without taking a permit."""
        with self._lock:
            return self._passes()

    def acquire(self) -> BreakerPermit | None:
        """Return the permit for one request; None when none passes now."""
        if self._state is BreakerState.CLOSED:
            # Without the lock: a breaker that opens at this moment lets this request through, as an earlier one.
            return BreakerPermit(self, self._generation)
        with self._lock:
            if not self._passes():
                return None
            change = self._set(BreakerState.HALF_OPEN) if self._is_due() else None
            self._probing = self._state is BreakerState.HALF_OPEN
            permit = BreakerPermit(self, self._generation)
        self._report(change)
        return permit

    def finish(self, generation: int, result: bool | None) -> None:
        """Count the result of a request that started in a generation of the state; None counts as no result."""
        if result is not False and self._state is BreakerState.CLOSED and not self._failures:
            return
        with self._lock:
            if generation != self._generation:
                return
            self._probing = False
            change = self._count(result) if result is not None else None
        self._report(change)

    def count_failure(self) -> None:
        """Count a failure that came after the permit of its request was used: a stream that broke."""
        with self._lock:
            change = self._count(False) if self._state is BreakerState.CLOSED else None
        self._report(change)

    def _passes(self) -> bool:
        if self._state is BreakerState.OPEN:
            return self._is_due()
        return self._state is BreakerState.CLOSED or not self._probing

    def _is_due(self) -> bool:
        recovered = self._clock() - self._opened_at >= self._config.recovery_timeout
        return self._state is BreakerState.OPEN and recovered

    def _count(self, success: bool) -> tuple[BreakerState, BreakerState] | None:
        if success:
            self._failures = 0
            self._successes += 1
            enough = self._successes >= self._config.success_threshold
            return self._set(BreakerState.CLOSED) if self._state is BreakerState.HALF_OPEN and enough else None
        self._failures += 1
        if self._state is BreakerState.HALF_OPEN or self._failures >= self._config.failure_threshold:
            self._opened_at = self._clock()
            return self._set(BreakerState.OPEN) if self._config.enabled else None
        return None

    def _set(self, new: BreakerState) -> tuple[BreakerState, BreakerState]:
        old, self._state = self._state, new
        self._generation += 1
        self._failures = self._successes = 0
        self._probing = False
        return old, new

    def _report(self, change: tuple[BreakerState, BreakerState] | None) -> None:
        if change is not None and self._on_change is not None:
            self._on_change(*change)
