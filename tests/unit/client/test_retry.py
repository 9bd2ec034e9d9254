from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from vllm_operator.client import (
    CircuitOpen,
    InvalidRequest,
    RateLimitExceeded,
    RetryPolicy,
    ServerFailed,
    VLLMClientError,
)
from vllm_operator.client.retry import RetryBudget, RetryLoop, is_retried, retry_after_seconds

NOW = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
        ("9" * 100, None),
        ("Mon, 02 Mar 99999 09:00:00 GMT", None),
    ],
)
def test_retry_after_takes_seconds_and_dates(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW.timestamp) == seconds


class FakeSends:
    """Fails with each error in turn, then answers."""

    def __init__(self, *errors: VLLMClientError) -> None:
        self.errors = list(errors)
        self.sent = 0
        self.delays: list[float] = []

    async def __call__(self) -> str:
        self.sent += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def run(self, policy: RetryPolicy | None = None, budget: RetryBudget | None = None, **rest: object) -> str:
        """Make all attempts, the first one as the executor makes it."""
        loop = self.loop(policy, budget, **rest)
        loop.budget.add_request()
        try:
            return await self()
        except VLLMClientError as error:
            return await loop.run(error, self)

    def loop(self, policy: RetryPolicy | None = None, budget: RetryBudget | None = None, **rest: object) -> RetryLoop:
        values: dict[str, object] = {"deadline": None, "fails_over": lambda _: False, **rest}
        return RetryLoop(
            policy or RetryPolicy(base_delay=0.001),
            budget or RetryBudget(0.2, 10),
            on_retry=lambda error, attempt, delay: self.delays.append(delay),
            **values,  # type: ignore[arg-type]
        )


async def test_failure_that_may_end_is_sent_again() -> None:
    sends = FakeSends(ServerFailed("a"), ServerFailed("b"))

    assert await sends.run() == "answer"
    assert sends.sent == 3
    assert all(0 <= delay <= 0.002 for delay in sends.delays)


async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    sends = FakeSends(*(ServerFailed(str(i)) for i in range(9)))

    with pytest.raises(ServerFailed, match="2"):
        await sends.run()


@pytest.mark.parametrize(
    ("error", "retried"), [(InvalidRequest("no"), False), (CircuitOpen("open"), False), (ServerFailed("x"), True)]
)
def test_only_failures_that_may_end_are_retried(error: VLLMClientError, retried: bool) -> None:
    assert is_retried(error) is retried


async def test_breaker_that_opens_between_attempts_leaves_the_failure_that_opened_it() -> None:
    sends = FakeSends(ServerFailed("why"), CircuitOpen("open"), ServerFailed("never"))

    with pytest.raises(ServerFailed, match="why"):
        await sends.run()
    assert sends.sent == 2


async def test_delays_are_spread_over_the_whole_range() -> None:
    """Full jitter: from 0 to the bound, not around it."""
    policy = RetryPolicy(base_delay=0.01, max_attempts=100, max_delay=0.01)
    sends = FakeSends(*(ServerFailed("x") for _ in range(90)))

    await sends.run(policy, RetryBudget(0, 1000))

    assert min(sends.delays) < 0.003
    assert max(sends.delays) > 0.007
    assert max(sends.delays) <= 0.01


async def test_retry_after_is_waited_for() -> None:
    sends = FakeSends(RateLimitExceeded("slow down", retry_after=0.05))

    await sends.run()

    assert 0.05 <= sends.delays[0] <= 0.052


async def test_retry_after_that_is_too_long_raises_at_once() -> None:
    sends = FakeSends(RateLimitExceeded("slow down", retry_after=61))

    with pytest.raises(RateLimitExceeded):
        await sends.run()
    assert sends.delays == []


async def test_retry_after_the_deadline_is_not_waited_for() -> None:
    sends = FakeSends(RateLimitExceeded("slow down", retry_after=30))

    with pytest.raises(RateLimitExceeded):
        await sends.run(deadline=asyncio.get_running_loop().time() + 5)


async def test_other_endpoint_is_tried_without_delay() -> None:
    sends = FakeSends(ServerFailed("draining", retry_after=50))

    await sends.run(fails_over=lambda _: True)

    assert sends.delays == [0]


async def test_budget_bounds_the_retries_of_all_calls_together() -> None:
    budget = RetryBudget(ratio=0.1, burst=5)
    sent = 0
    for _ in range(100):
        sends = FakeSends(*(ServerFailed("x") for _ in range(9)))
        with pytest.raises(ServerFailed):
            await sends.run(RetryPolicy(base_delay=0, max_attempts=5), budget)
        sent += sends.sent

    assert 110 <= sent <= 116, "100 requests, 5 retries at once, and one more for 10 requests"


def test_budget_is_never_fuller_than_its_burst() -> None:
    budget = RetryBudget(ratio=1, burst=2)
    for _ in range(10):
        budget.add_request()

    assert [budget.take_retry() for _ in range(3)] == [True, True, False]
    assert budget.left == 0
