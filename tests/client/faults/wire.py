"""The bytes of HTTP answers, made from what a real vLLM answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.client.faults.server import Behaviour, Connection

CONTENT = "Hello, world"
USAGE = {"prompt_tokens": 5, "total_tokens": 8, "completion_tokens": 3}


def answer(content: str = CONTENT, **changes: Any) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": content, "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1772445600, "model": "tiny",
        "choices": [choice], "usage": USAGE, **changes,
    }  # fmt: skip


def chunk(content: str | None = None, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a chunk of a stream."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1772445600, "model": "tiny"}
    return {**head, "choices": [choice], **changes}


def event(value: Any) -> bytes:
    """Return an event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


ROLE = event(chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]))
HELLO, WORLD = event(chunk("Hello")), event(chunk(", world"))
FINISH = event(chunk("", "stop"))
LAST = event(chunk(choices=[], usage=USAGE))
DONE = b"data: [DONE]\n\n"
WHOLE_STREAM = (ROLE, HELLO, WORLD, FINISH, LAST, DONE)


def head(status: int = 200, *lines: str, reason: str = "X") -> bytes:
    """Return a status line and headers."""
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *lines]).encode() + b"\r\n\r\n"


def with_length(status: int, body: bytes, *lines: str, content_type: str = "application/json") -> bytes:
    """Return a whole answer with a Content-Length."""
    return head(status, f"content-length: {len(body)}", f"content-type: {content_type}", *lines) + body


STREAM_HEAD = head(200, "content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked")


def pieces(*parts: bytes) -> list[bytes]:
    """Return parts as chunks of HTTP, without the last chunk that ends the body."""
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]


END = b"0\r\n\r\n"
"""The chunk of HTTP that ends a body."""


def good(connection: Connection) -> None:
    """Answer all requests of a connection correctly."""
    while request := connection.request():
        if request.path.endswith("/models"):
            listed = {"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 512}]}
            connection.send(with_length(200, json.dumps(listed).encode()))
        elif request.streams:
            connection.send(STREAM_HEAD, *pieces(*WHOLE_STREAM), END)
        else:
            connection.send(with_length(200, json.dumps(answer()).encode()))


def always(*parts: bytes) -> Behaviour:
    """Send the same bytes for every request of a connection."""

    def behave(connection: Connection) -> None:
        while connection.request():
            connection.send(*parts)

    return behave


def once(act: Callable[[Connection], None]) -> Behaviour:
    """Act after the first request; then wait until the client closes the connection."""

    def behave(connection: Connection) -> None:
        if connection.request():
            act(connection)
            connection.wait_for_close()

    return behave


def error_body(status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> bytes:
    """Return the body of an error, as vLLM writes it since 0.10."""
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": status}}).encode()


def refusal(
    status: int, message: str, *lines: str, kind: str = "BadRequestError", param: str | None = None
) -> Behaviour:
    """Answer every request with an error of vLLM."""
    return always(with_length(status, error_body(status, message, kind, param), *lines))
