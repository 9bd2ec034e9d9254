"""Test how long the repetition of a failed write is delayed."""

from __future__ import annotations

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.apply.write_backoff import (
    FIRST_FAILURE_DELAY_SECONDS,
    FIRST_REFUSAL_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    WriteBackoff,
)
from vllm_operator.errors import ApiError

CHILD = ("Service", "mistral")
FAILURE = ApiError(503, "ServiceUnavailable", "later")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def backoff(clock: FakeClock) -> WriteBackoff:
    return WriteBackoff(clock)


def test_only_the_same_write_is_delayed(backoff: WriteBackoff) -> None:
    backoff.record_failure(CHILD, "hash", "u1", FAILURE)

    assert backoff.recent_error(CHILD, "hash", "u1") is FAILURE
    assert backoff.recent_error(CHILD, "new", "u1") is None
    assert backoff.recent_error(CHILD, "hash", "u2") is None
    assert backoff.recent_error(("Deployment", "mistral"), "hash", "u1") is None


@pytest.mark.parametrize(
    ("error", "first"),
    [(FAILURE, FIRST_FAILURE_DELAY_SECONDS), (ApiError(422, "Invalid", "no"), FIRST_REFUSAL_DELAY_SECONDS)],
    ids=["failure", "refusal"],
)
def test_delay_grows_to_its_maximum(backoff: WriteBackoff, clock: FakeClock, error: ApiError, first: float) -> None:
    for count in range(12):
        backoff.record_failure(CHILD, "hash", "u1", error)
        assert backoff.failure_count(CHILD) == count + 1
        planned = min(first * 2**count, MAX_DELAY_SECONDS)
        clock.now += 0.59 * planned
        assert backoff.recent_error(CHILD, "hash", "u1") is error
        clock.now += 0.22 * planned
        assert backoff.recent_error(CHILD, "hash", "u1") is None


def test_delay_is_never_shorter_than_the_api_server_asks_for(backoff: WriteBackoff, clock: FakeClock) -> None:
    backoff.record_failure(CHILD, "hash", "u1", ApiError(429, "TooManyRequests", "no", retry_after=60))
    clock.now += 59

    assert backoff.recent_error(CHILD, "hash", "u1") is not None


def test_failure_of_another_write_starts_again(backoff: WriteBackoff) -> None:
    for manifest_hash in ("a", "a", "b"):
        backoff.record_failure(CHILD, manifest_hash, "u1", FAILURE)

    assert backoff.failure_count(CHILD) == 1


def test_success_and_clear_forget_failures(backoff: WriteBackoff) -> None:
    backoff.record_failure(CHILD, "hash", "u1", FAILURE)
    backoff.record_success(CHILD)
    assert backoff.recent_error(CHILD, "hash", "u1") is None

    backoff.record_failure(CHILD, "hash", "u1", FAILURE)
    backoff.clear()
    assert backoff.recent_error(CHILD, "hash", "u1") is None
