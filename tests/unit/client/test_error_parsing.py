from __future__ import annotations

import orjson
import pytest

from vllm_operator.client import (
    AuthenticationFailed,
    EngineDead,
    InvalidRequest,
    InvalidResponse,
    ModelNotFound,
    NotSupported,
    RateLimitExceeded,
    ServerFailed,
    ServerOverloaded,
    TokenLimitExceeded,
    VLLMClientError,
)
from vllm_operator.client.error_parsing import error_from_answer, error_from_event


def error(status: int, message: str = "no", headers: dict[str, str] | None = None, **fields: object) -> VLLMClientError:
    body = orjson.dumps({"error": {"message": message, "type": "x", "param": None, "code": status, **fields}})
    return error_from_answer(status, headers or {}, body, "http://a", "/v1/chat/completions")


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, InvalidRequest, False),
        (401, AuthenticationFailed, False),
        (403, AuthenticationFailed, False),
        (404, NotSupported, False),
        (405, NotSupported, False),
        (418, InvalidRequest, False),
        (422, InvalidRequest, False),
        (429, RateLimitExceeded, True),
        (500, ServerFailed, True),
        (502, ServerOverloaded, True),
        (503, ServerOverloaded, True),
        (504, ServerOverloaded, True),
        (302, InvalidResponse, False),
    ],
)
def test_status_decides_about_the_class(status: int, kind: type[VLLMClientError], retryable: bool) -> None:
    found = error(status)

    assert type(found) is kind
    assert found.retryable is retryable
    assert found.status_code == status
    assert found.endpoint == "http://a"


@pytest.mark.parametrize(
    ("message", "limit", "prompt", "requested"),
    [
        ("max_tokens=4096 cannot be greater than max_model_len=1024. Please", 1024, None, 4096),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 1024 "
            "tokens and your request has 12 input tokens (4096 > 1024 - 12). None",
            1024,
            12,
            4096,
        ),
        (
            "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens (2000 in the "
            "messages, 100 in the completion). Please reduce the length of the messages or completion.",
            2048,
            2000,
            100,
        ),
        (
            "This model's maximum context length is 1024 tokens. However, your request has 1500 input tokens. Please",
            1024,
            1500,
            None,
        ),
        (
            "The decoder prompt (length 1500) is longer than the maximum model length of 1024.",
            1024,
            1500,
            None,
        ),
    ],
)
def test_too_many_tokens_come_with_their_numbers(
    message: str, limit: int, prompt: int | None, requested: int | None
) -> None:
    found = error(400, message, param="max_tokens")

    assert isinstance(found, TokenLimitExceeded)
    assert (found.max_model_len, found.prompt_tokens, found.requested_tokens) == (limit, prompt, requested)
    assert found.param == "max_tokens"


def test_the_word_token_alone_is_no_token_limit() -> None:
    assert type(error(400, "stop_token_ids must be a list")) is InvalidRequest


def test_unknown_model_and_unknown_path_are_different() -> None:
    assert isinstance(error(404, "The model `x` does not exist.", param="model"), ModelNotFound)
    assert isinstance(error(404, "The model `x` does not exist."), ModelNotFound)
    assert isinstance(error_from_answer(404, {}, b'{"detail":"Not Found"}', "http://a"), NotSupported)


def test_old_body_without_the_envelope_is_read() -> None:
    body = (
        b'{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}'
    )

    assert isinstance(error_from_answer(404, {}, body, "http://a"), ModelNotFound)


def test_dead_engine_is_named() -> None:
    found = error(500, "EngineCore encountered an issue. See stack trace (above) for the root cause.")

    assert isinstance(found, EngineDead)
    assert found.retryable


def test_retry_after_is_read() -> None:
    assert error(503, headers={"Retry-After": "7"}).retry_after == 7
    assert error(429).retry_after is None


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"\xff\xfe", b"[1]", b'"x"', b'{"error": 3}', b'{"error": "text"}', b"[" * 5000],
)
def test_any_body_gives_an_error_with_a_short_message(body: bytes) -> None:
    found = error_from_answer(500, {}, body, "http://a")

    assert type(found) is ServerFailed
    assert len(str(found)) < 500


def test_message_of_a_server_is_bounded_and_printable() -> None:
    found = error(500, "\x1b[31m" + "x" * 10_000)

    assert "\x1b" not in str(found)
    assert len(str(found)) < 2200


def test_error_within_a_stream_has_the_class_of_its_code() -> None:
    assert isinstance(error_from_event({"error": {"message": "bad", "code": 400}}, "http://a"), InvalidRequest)
    assert isinstance(error_from_event({"error": {"message": "bad"}}, "http://a"), ServerFailed)
    assert isinstance(error_from_event({"error": "bad"}, "http://a"), ServerFailed)
    assert isinstance(
        error_from_event({"object": "error", "message": "EngineCore encountered an issue", "code": 500}, "http://a"),
        EngineDead,
    )
