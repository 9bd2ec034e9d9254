"""Faults of HTTP answers: errors of vLLM and of what stands in front of it, and answers of other servers."""

from __future__ import annotations

import json
from typing import Any

from tests.client.faults.fault import SMALL, Fault
from tests.client.faults.server import Connection
from tests.client.faults.wire import CONTENT, always, answer, error_body, head, once, refusal, with_length
from vllm_operator.client import (
    AuthenticationFailed,
    ConnectionFailed,
    EngineDead,
    InvalidRequest,
    InvalidResponse,
    ModelNotFound,
    NotSupported,
    RateLimitExceeded,
    ResponseTooLarge,
    ServerFailed,
    ServerOverloaded,
    TokenLimitExceeded,
)

TOO_LONG = (
    "This model's maximum context length is 512 tokens. However, your request has 1026 input tokens. "
    "Please reduce the length of the input messages."
)
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def expects(**attributes: Any) -> Any:
    """Return a check of attributes of an error."""

    def check(error: Any) -> None:
        for name, value in attributes.items():
            assert getattr(error, name) == value, name

    return check


def never_sent_on(error: InvalidResponse) -> None:
    assert "redirect" in str(error)
    assert not error.retryable


def is_short(error: Exception) -> None:
    assert len(str(error)) < 3000


def both(behaviour: Any, error: Any, check: Any = None, kept: bool = True, **more: Any) -> Fault:
    """Return a fault with the same outcome for plain calls and streams."""
    return Fault(behaviour, error, error, check, kept=kept, **more)


def valued(**changes: Any) -> Any:
    """Return a behaviour that answers 200 with changed fields."""
    return always(with_length(200, json.dumps(answer(**changes)).encode()))


def shorter_than_its_length(connection: Connection) -> None:
    """Announce more bytes than follow."""
    connection.request()
    connection.send(head(200, "content-type: application/json", "content-length: 4000"), b"{}")
    connection.finish()
    connection.wait_for_close()


UNKNOWN_MODEL = refusal(404, "The model `tiny` does not exist.", kind="NotFoundError", param="model")
DRAINING = refusal(500, "Internal server error", kind="InternalServerError")
DEAD = refusal(
    500,
    "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    kind="InternalServerError",
)
FAULTS = {
    "500 while draining": both(DRAINING, ServerFailed, expects(retryable=True, status_code=500)),
    "500 without a body": both(always(with_length(500, b"")), ServerFailed, expects(retryable=True)),
    "500 of plain text": both(
        always(with_length(500, b"Internal Server Error", content_type="text/plain")), ServerFailed
    ),
    "engine dead": both(DEAD, EngineDead, expects(retryable=True)),
    "502 of a proxy": both(always(with_length(502, HTML, content_type="text/html")), ServerOverloaded),
    "504 of a proxy": both(always(with_length(504, HTML, content_type="text/html")), ServerOverloaded),
    "503": both(refusal(503, "overloaded"), ServerOverloaded, expects(retry_after=None, retryable=True)),
    "503 with Retry-After": both(
        refusal(503, "overloaded", "retry-after: 7"), ServerOverloaded, expects(retry_after=7.0)
    ),
    "503 with a date": both(
        refusal(503, "overloaded", "retry-after: Mon, 02 Mar 2020 10:00:00 GMT"),
        ServerOverloaded, expects(retry_after=0.0),
    ),
    "503 with a bad Retry-After": both(
        refusal(503, "overloaded", "retry-after: soon"), ServerOverloaded, expects(retry_after=None)
    ),
    "503 with an infinite Retry-After": both(
        refusal(503, "overloaded", "retry-after: 1e999"), ServerOverloaded, expects(retry_after=None)
    ),
    "503 with a Retry-After below zero": both(
        refusal(503, "overloaded", "retry-after: -5"), ServerOverloaded, expects(retry_after=0.0)
    ),
    "503 with a Retry-After that is no number": both(
        refusal(503, "overloaded", "retry-after: nan"), ServerOverloaded, expects(retry_after=None)
    ),
    "429": both(refusal(429, "too many requests"), RateLimitExceeded, expects(retry_after=None, retryable=True)),
    "429 with Retry-After": both(
        refusal(429, "too many requests", "retry-after: 3"), RateLimitExceeded, expects(retry_after=3.0)
    ),
    "401": both(always(with_length(401, b'{"error": "Unauthorized"}')), AuthenticationFailed, expects(retryable=False)),
    "403 of a gateway": both(always(with_length(403, HTML)), AuthenticationFailed, expects(retryable=False)),
    "404 of a model": both(UNKNOWN_MODEL, ModelNotFound, expects(retryable=False, status_code=404)),
    "404 of a path": both(always(with_length(404, b'{"detail": "Not Found"}')), NotSupported, expects(retryable=False)),
    "405": both(always(with_length(405, b'{"detail": "Method Not Allowed"}')), NotSupported),
    "400 too long": both(
        refusal(400, TOO_LONG), TokenLimitExceeded,
        expects(max_model_len=512, prompt_tokens=1026, retryable=False, status_code=400),
    ),
    "400 bad parameter": both(
        refusal(400, "temperature must be non-negative, got -1.0.", param="temperature"),
        InvalidRequest, expects(param="temperature", retryable=False),
    ),
    "400 of before 0.10": both(
        always(with_length(400, json.dumps({"object": "error", "message": TOO_LONG, "code": 400}).encode())),
        TokenLimitExceeded, expects(max_model_len=512),
    ),
    "413 of a proxy": both(always(with_length(413, HTML)), InvalidRequest),
    "422 of FastAPI": both(
        always(with_length(422, b'{"detail": [{"loc": ["body", "n"], "msg": "no", "type": "int"}]}')), InvalidRequest
    ),
    "418": both(always(with_length(418, b"teapot")), InvalidRequest, expects(retryable=False)),
    "599": both(always(with_length(599, b"")), ServerFailed),
    "204": both(always(head(204)), InvalidResponse),
    "206": both(always(with_length(206, json.dumps(answer()).encode())), InvalidResponse),
    "redirect elsewhere": both(
        always(with_length(307, b"", "location: http://127.0.0.1:9/steal")), InvalidResponse, never_sent_on
    ),
    "redirect to itself": both(
        always(with_length(302, b"", "location: /v1/chat/completions")), InvalidResponse, never_sent_on
    ),
    "error with control characters": both(
        always(with_length(400, error_body(400, "a\x1b[31mb\x00c\u202e"))), InvalidRequest
    ),
    "error with an endless body": both(
        once(lambda c: c.send(head(500, "content-type: text/plain")) or c.flood(b"x" * 65536)),
        ServerFailed, is_short, kept=False,
    ),
    "error of deeply nested JSON": both(always(with_length(400, b"[" * 60_000)), InvalidRequest, is_short, kept=True),
    "error of invalid UTF-8": both(always(with_length(400, b'{"error": {"message": "\xff\xfe"}}')), InvalidRequest),
    "HTML with 200": both(
        always(with_length(200, b"<html>Sign in</html>", content_type="text/html")), InvalidResponse, kept=True
    ),
    "JSON in place of a stream": Fault(
        always(with_length(200, json.dumps(answer()).encode())), "Hello, world", InvalidResponse, kept=True
    ),
    "gzip bomb": both(
        always(with_length(200, b"\x1f\x8b\x08" + b"\x00" * 4000, "content-encoding: gzip")),
        InvalidResponse, kept=True,
    ),
    "a body beyond the limit": Fault(
        always(with_length(200, json.dumps(answer("x" * 300_000)).encode())), ResponseTooLarge, None, limits=SMALL
    ),
    "an endless body": Fault(
        once(lambda c: c.send(head(200, "content-type: application/json")) or c.flood(b" " * 65536)),
        ResponseTooLarge, None, limits=SMALL,
    ),
    "no choices": Fault(valued(choices=[]), InvalidResponse, None, kept=True),
    "choices of null": Fault(valued(choices=None), InvalidResponse, None, kept=True),
    "choices of text": Fault(valued(choices="none"), InvalidResponse, None, kept=True),
    "a choice of a number": Fault(valued(choices=[7]), InvalidResponse, None, kept=True),
    "usage of text": Fault(valued(usage="much"), CONTENT, None, kept=True),
    "usage below zero": Fault(valued(usage={"prompt_tokens": -5}), CONTENT, None, kept=True),
    "a list": Fault(always(with_length(200, b"[]")), InvalidResponse, None, kept=True),
    "a number": Fault(always(with_length(200, b"7")), InvalidResponse, None, kept=True),
    "an empty body": Fault(always(with_length(200, b"")), InvalidResponse, None, kept=True),
    "garbage JSON": Fault(always(with_length(200, b'{"choices": [{]}')), InvalidResponse, None, kept=True),
    "deeply nested JSON": Fault(always(with_length(200, b"[" * 150_000)), InvalidResponse, None, kept=True),
    "invalid UTF-8": Fault(
        always(with_length(200, json.dumps(answer()).encode().replace(b"Hello", b"\xff\xfe\xfd"))),
        InvalidResponse, None, kept=True,
    ),
    "an error with status 200": Fault(
        always(with_length(200, error_body(500, "Internal server error", "InternalServerError"))),
        InvalidResponse, None, kept=True,
    ),
    "a length below the body's": Fault(
        once(lambda c: c.send(head(200, "content-type: application/json", "content-length: 40"), b" " * 40, b"x" * 60)),
        InvalidResponse, None, kept=True,
    ),
    "a length above the body's": Fault(shorter_than_its_length, ConnectionFailed, None),
    "a length below zero": both(
        once(lambda c: c.send(head(200, "content-type: application/json", "content-length: -4"), b"{}")),
        InvalidResponse, kept=False,
    ),
    "two lengths": both(
        once(lambda c: c.send(head(200, "content-length: 2", "content-length: 40"), b"{}")), InvalidResponse, kept=False
    ),
    "endless headers": both(
        once(lambda c: c.send(b"HTTP/1.1 200 OK\r\n") or c.flood(b"x-more: " + b"y" * 1000 + b"\r\n")),
        InvalidResponse, is_short, kept=False,
    ),
    "an endless header": both(
        once(lambda c: c.send(b"HTTP/1.1 200 OK\r\nx-more: ") or c.flood(b"y" * 65536)),
        InvalidResponse, is_short, kept=False,
    ),
    "an endless status line": both(
        once(lambda c: c.send(b"HTTP/1.1 200 ") or c.flood(b"y" * 65536)), InvalidResponse, is_short, kept=False
    ),
}  # fmt: skip
"""Name -> fault."""
