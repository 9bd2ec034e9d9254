"""How long a request of a batch is sent again."""

from __future__ import annotations

import pytest

from vllm_operator.client.batch.patience import MAX_DELAY, Patience
from vllm_operator.client.errors import (
    CircuitOpen,
    ConnectionRefused,
    InvalidRequest,
    RateLimitExceeded,
    RequestTimeout,
    ServerFailed,
    VLLMClientError,
)


def longest(_: float, bound: float) -> float:
    """The longest delay that jitter may choose."""
    return bound


def test_delays_double_up_to_a_bound() -> None:
    patience = Patience(1000, longest)

    delays = [patience.delay(ServerFailed("x"), 0.0) for _ in range(8)]

    assert delays == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_jitter_is_full() -> None:
    patience = Patience(10_000)

    delays = [patience.delay(ServerFailed("x"), 0.0) or 0.0 for _ in range(500)]

    assert min(delays[10:]) < 1
    assert MAX_DELAY - 1 < max(delays) <= MAX_DELAY


@pytest.mark.parametrize("kind", [RateLimitExceeded, CircuitOpen])
def test_what_the_server_asks_for_is_obeyed(kind: type[VLLMClientError]) -> None:
    assert Patience(100, longest).delay(kind("x", retry_after=20), 0.0) == 20.5
    assert Patience(10, longest).delay(kind("x", retry_after=20), 0.0) is None


def test_time_counts_from_the_first_failure() -> None:
    patience = Patience(10, longest)

    assert patience.delay(ConnectionRefused("x"), 500.0) == 0.5
    assert patience.delay(ConnectionRefused("x"), 508.0) == 1
    assert patience.delay(ConnectionRefused("x"), 508.5) is None


@pytest.mark.parametrize("error", [InvalidRequest("x"), RequestTimeout("x", phase="whole")])
def test_error_that_a_retry_cannot_help_is_the_outcome(error: VLLMClientError) -> None:
    assert Patience(1000).delay(error, 0.0) is None


def test_no_patience_at_all() -> None:
    assert Patience(0, longest).delay(ServerFailed("x"), 3.0) is None
