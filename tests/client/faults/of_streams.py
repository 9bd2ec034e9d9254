"""Faults of streams: they end early, bring errors, or something that is no event of vLLM."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tests.client.faults.fault import SMALL, Fault
from tests.client.faults.server import Behaviour, Connection
from tests.client.faults.wire import (
    CONTENT,
    DONE,
    END,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    STREAM_HEAD,
    WORLD,
    always,
    chunk,
    event,
    once,
    pieces,
)
from vllm_operator.client import (
    EngineDead,
    InvalidResponse,
    ResponseTooLarge,
    ServerFailed,
    StreamInterrupted,
    TokenLimitExceeded,
)

ERROR = {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}
DEAD = {**ERROR, "message": "EngineCore encountered an issue. See stack trace (above) for the root cause."}


def stream(*events: bytes) -> Behaviour:
    """Send a stream of these events, with a correct end of the HTTP body."""
    return always(STREAM_HEAD, *pieces(*events), END)


def endless(part: bytes, *first: bytes) -> Behaviour:
    """Send the same bytes without end."""

    def act(connection: Connection) -> None:
        connection.send(STREAM_HEAD, *pieces(*first))
        connection.flood(b"".join(pieces(part)))

    return once(act)


def broken(behaviour: Behaviour, error: Any = StreamInterrupted, partial: str = CONTENT, **more: Any) -> Fault:
    """Return a fault of a stream whose error comes after some text."""

    def keeps_the_text(found: Any) -> None:
        if isinstance(found, StreamInterrupted):
            assert found.partial_content == partial

    return Fault(behaviour, None, error, keeps_the_text, partial=partial, **more)


def right(*events: bytes, content: str = CONTENT, kept: bool = True) -> Fault:
    """Return a stream that is unusual, but right."""
    return Fault(stream(*events), None, content, kept=kept)


ENDLESS = ("gigantic line", "gigantic event of many lines", "endless comments")
FAULTS = {
    "end without finish reason and [DONE]": broken(stream(ROLE, HELLO, WORLD), kept=True),
    "end with finish reason, without [DONE]": broken(stream(ROLE, HELLO, WORLD, FINISH, LAST), kept=True),
    "[DONE] without finish reason": broken(stream(ROLE, HELLO, WORLD, DONE), kept=True),
    "[DONE] at once": broken(stream(DONE), partial="", kept=True),
    "no event": broken(stream(), partial="", kept=True),
    "end within an event": broken(stream(ROLE, HELLO, WORLD, b'data: {"id": "chatcm'), kept=True),
    "error event first": Fault(stream(event({"error": ERROR}), DONE), None, ServerFailed),
    "dead engine first": Fault(stream(event({"error": DEAD}), DONE), None, EngineDead),
    "too long within the stream": Fault(
        stream(event({"error": {**ERROR, "code": 400, "message": "maximum context length is 512 tokens"}}), DONE),
        None, TokenLimitExceeded,
    ),
    "error event amid the stream": broken(stream(ROLE, HELLO, WORLD, event({"error": ERROR}), DONE)),
    "error event of before 0.10": broken(stream(ROLE, HELLO, WORLD, event({"object": "error", **ERROR}), DONE)),
    "error event of text": broken(stream(ROLE, HELLO, WORLD, event({"error": "failed"}), DONE)),
    "error event after the finish reason": broken(stream(ROLE, HELLO, WORLD, FINISH, event({"error": ERROR}), DONE)),
    "garbage JSON first": Fault(stream(b"data: {]\n\n"), None, InvalidResponse),
    "garbage JSON amid the stream": broken(stream(ROLE, HELLO, WORLD, b"data: {]\n\n", DONE), InvalidResponse),
    "invalid UTF-8 first": Fault(stream(b'data: {"id": "\xff\xfe"}\n\n'), None, InvalidResponse),
    "invalid UTF-8 amid the stream": broken(
        stream(ROLE, HELLO, WORLD, HELLO.replace(b"Hello", b"\xc3\x28"), DONE), InvalidResponse
    ),
    "event that is a list": Fault(stream(b"data: []\n\n"), None, InvalidResponse),
    "event that is a number": Fault(stream(b"data: 7\n\n"), None, InvalidResponse),
    "event of deeply nested JSON": Fault(stream(b"data: " + b"[" * 40_000 + b"\n\n"), None, InvalidResponse),
    "choices of null": Fault(stream(event(chunk(choices=None))), None, InvalidResponse),
    "a choice of text": Fault(stream(event(chunk(choices=["x"]))), None, InvalidResponse),
    "content of a number": Fault(
        stream(event(chunk(choices=[{"index": 0, "delta": {"content": 7}, "finish_reason": None}]))), None,
        InvalidResponse,
    ),
    "an index of a million": Fault(
        stream(ROLE, HELLO, WORLD, event(chunk(choices=[{"index": 10**6, "delta": {"content": "x"}}])), DONE), None,
        StreamInterrupted, partial=None,
    ),
    "gigantic line": Fault(endless(b"x" * 65536), None, ResponseTooLarge, limits=SMALL),
    "gigantic event of many lines": Fault(endless(b"data: x\n" * 8192), None, ResponseTooLarge, limits=SMALL),
    "endless text": Fault(
        stream(ROLE, *[event(chunk("x" * 1000))] * 400, FINISH, DONE), None, ResponseTooLarge, limits=SMALL,
        partial=None,
    ),
    "endless comments": Fault(endless(b": ping\n\n" * 8192), None, ResponseTooLarge, limits=SMALL),
    "events in one segment": right(ROLE + HELLO + WORLD + FINISH + LAST + DONE),
    "comments and other fields": right(
        b": ping\n\n", ROLE, b"event: x\nid: 7\nretry: 5\n" + HELLO, WORLD, FINISH, DONE
    ),
    "CRLF": right(*(part.replace(b"\n", b"\r\n") for part in (ROLE, HELLO, WORLD, FINISH, LAST, DONE))),
    "CR": right(*(part.replace(b"\n", b"\r") for part in (ROLE, HELLO, WORLD, FINISH, LAST, DONE)), b"\r"),
    "a byte order mark": right(b"\xef\xbb\xbf" + ROLE, HELLO, WORLD, FINISH, LAST, DONE),
    "no space after the colon": right(*(p.replace(b"data: ", b"data:") for p in (ROLE, HELLO, WORLD, FINISH, DONE))),
    "an event of two lines": right(
        ROLE, b"data: " + json.dumps(chunk(CONTENT)).encode().replace(b'"choices"', b'\ndata: "choices"') + b"\n\n",
        FINISH, DONE,
    ),
    "no usage": right(ROLE, HELLO, WORLD, FINISH, DONE),
    "no role": right(HELLO, WORLD, FINISH, LAST, DONE),
    "events after [DONE]": right(ROLE, HELLO, WORLD, FINISH, LAST, DONE, HELLO),
    "text split between its bytes": right(
        *(bytes([byte]) for byte in ROLE + event(chunk("ü世")) + FINISH + DONE), content="ü世",
    ),
}  # fmt: skip
"""Name -> fault."""
# The HTTP body of a stream with an end is in order, so its connection may be kept.
FAULTS = {name: fault if name in ENDLESS else dataclasses.replace(fault, kept=True) for name, fault in FAULTS.items()}
