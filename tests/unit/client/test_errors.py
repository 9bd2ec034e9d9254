from __future__ import annotations

import pickle

import pytest

from vllm_operator.client import (
    ConnectionFailed,
    ConnectionRefused,
    ModelNotReady,
    RateLimitExceeded,
    RequestTimeout,
    StreamInterrupted,
    StreamTimeout,
    TokenLimitExceeded,
    VLLMClientError,
)
from vllm_operator.client.errors import ServerAnswer


def test_refused_connection_is_a_model_that_is_not_ready() -> None:
    assert issubclass(ConnectionRefused, ConnectionFailed)
    assert issubclass(ConnectionRefused, ModelNotReady)


@pytest.mark.parametrize(("phase", "retryable"), [("connect", True), ("first_token", True), ("whole", False)])
def test_no_retry_helps_when_the_whole_time_is_over(phase: str, retryable: bool) -> None:
    error = RequestTimeout("x", phase=phase, seconds=3)  # type: ignore[arg-type]

    assert error.retryable is retryable
    assert isinstance(error, TimeoutError)


def test_stalled_stream_is_both_an_interruption_and_a_timeout() -> None:
    error = StreamTimeout("x", phase="whole", seconds=3, partial_content="Hello")

    assert isinstance(error, StreamInterrupted)
    assert isinstance(error, RequestTimeout)
    assert not error.retryable


def test_errors_survive_pickling() -> None:
    """Process pools send errors from one process to another."""
    limit = TokenLimitExceeded("too long", endpoint="http://a", answer=ServerAnswer(400))
    limit.max_model_len = 1024
    rate = RateLimitExceeded("slow down", retry_after=3)
    timeout = StreamTimeout("x", partial_content="Hello")

    copies: list[VLLMClientError] = [pickle.loads(pickle.dumps(error)) for error in (limit, rate, timeout)]

    assert copies[0].status_code == 400
    assert copies[0].__dict__["max_model_len"] == 1024
    assert copies[1].retry_after == 3
    assert copies[2].__dict__["partial_content"] == "Hello"


def test_error_without_an_answer_has_no_status() -> None:
    assert VLLMClientError("x").status_code is None
