"""Retries: exponential delays with full jitter, `Retry-After` obeyed, a budget for all requests together."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from vllm_operator.client.config import RetryPolicy
from vllm_operator.client.errors import CircuitOpen, VLLMClientError

T = TypeVar("T")
MAX_RETRY_AFTER_CHARACTERS = 64
"""Longest value of `Retry-After` that is read; an HTTP date has 29 characters (RFC 9110, 5.6.7)."""


def retry_after_seconds(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, 0 for a time in the past; None when it is not valid."""
    if not value or len(value) > MAX_RETRY_AFTER_CHARACTERS:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, now())
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None


class RetryBudget:
    """Bounds the retries of all requests together: each request adds a share of a retry, each retry takes one.

    When every request fails, the load grows by `budget_ratio` only, after the first `budget_burst` retries. Safe under
    threads.
    """

    def __init__(self, ratio: float, burst: float) -> None:
        self._ratio = ratio
        self._burst = burst
        self._left = burst
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Retries that are left."""
        return self._left

    def add_request(self) -> None:
        """Add the share of one request."""
        with self._lock:
            self._left = min(self._burst, self._left + self._ratio)

    def take_retry(self) -> bool:
        """Take one retry; return whether there was one."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


@dataclass(frozen=True)
class RetryLoop:
    """Runs the attempts of one call after the first one failed.

    Attributes:
        policy: bounds and delays.
        budget: shared by all calls of a client.
        deadline: time of the event loop after which no attempt starts; None for no bound.
        fails_over: returns whether another attempt would go to another endpoint, so that it need not wait.
        on_retry: receives the error, the number of the failed attempt, and the seconds until the next.
    """

    policy: RetryPolicy
    budget: RetryBudget
    deadline: float | None
    fails_over: Callable[[VLLMClientError], bool]
    on_retry: Callable[[VLLMClientError, int, float], None]

    async def run(self, first: VLLMClientError, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the first attempt that succeeds, after a first one that failed.

        To tenacity the first failure is the result of its first attempt, so that a call that succeeds at once, as
        most do, does not pay for it.

        Raises:
            VLLMClientError: the error of the last attempt.
        """
        last = first
        started = blocked = False

        async def next_attempt() -> T:
            nonlocal last, started, blocked
            if not started:
                started = True
                raise first
            try:
                return await attempt()
            except CircuitOpen as error:
                # The breaker opened in between: the failure that opened it says more.
                blocked = True
                raise last from error
            except VLLMClientError as error:
                last = error
                raise

        retrying = AsyncRetrying(
            sleep=asyncio.sleep,
            stop=self._stops,
            wait=self._delay,
            retry=retry_if_exception(lambda error: is_retried(error) and not blocked),
            before_sleep=self._before_sleep,
            reraise=True,
        )
        return await retrying(next_attempt)

    def _delay(self, state: RetryCallState) -> float:
        error = _error_of(state)
        if self.fails_over(error):
            return 0.0
        jitter = wait_random_exponential(multiplier=self.policy.base_delay, max=self.policy.max_delay)(state)
        if error.retry_after is None:
            return jitter
        return error.retry_after + min(jitter, self.policy.base_delay)

    def _stops(self, state: RetryCallState) -> bool:
        """Return whether no attempt follows; otherwise take the retry from the budget."""
        error = _error_of(state)
        waits_too_long = (error.retry_after or 0.0) > self.policy.max_retry_after and state.upcoming_sleep > 0
        if waits_too_long or stop_after_attempt(self.policy.max_attempts)(state):
            return True
        if self.deadline is not None and asyncio.get_running_loop().time() + state.upcoming_sleep >= self.deadline:
            return True
        return not self.budget.take_retry()

    def _before_sleep(self, state: RetryCallState) -> None:
        self.on_retry(_error_of(state), state.attempt_number, state.upcoming_sleep)


def is_retried(error: BaseException) -> bool:
    """Return whether another attempt is made: an open circuit breaker rejects at once, and the caller decides."""
    return isinstance(error, VLLMClientError) and error.retryable and not isinstance(error, CircuitOpen)


def _error_of(state: RetryCallState) -> VLLMClientError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, VLLMClientError)
    return error
