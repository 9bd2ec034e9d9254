"""Faults of connections: they break, stay half-open, or bring something that is no HTTP."""

from __future__ import annotations

import json

from tests.client.faults.fault import HASTY, Fault
from tests.client.faults.server import Connection
from tests.client.faults.wire import (
    CONTENT,
    END,
    HELLO,
    ROLE,
    STREAM_HEAD,
    WHOLE_STREAM,
    WORLD,
    always,
    answer,
    chunk,
    event,
    head,
    once,
    pieces,
    with_length,
)
from vllm_operator.client import ConnectionFailed, InvalidResponse, RequestTimeout, StreamInterrupted, StreamTimeout

BODY = json.dumps(answer()).encode()
PARTIAL = "Hello, world"


def retryable(error: ConnectionFailed) -> None:
    assert error.retryable


def keeps_the_text(error: StreamInterrupted | ConnectionFailed) -> None:
    if isinstance(error, StreamInterrupted):
        assert error.partial_content == PARTIAL
        assert "before" in str(error) or "after" in str(error)


def reset_at_once(connection: Connection) -> None:
    connection.reset()


def reset_before_the_answer(connection: Connection) -> None:
    connection.request()
    connection.reset()


def close_before_the_answer(connection: Connection) -> None:
    connection.request()


def half_closed_before_the_answer(connection: Connection) -> None:
    connection.request()
    connection.finish()
    connection.wait_for_close()


def close_within_the_headers(connection: Connection) -> None:
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-ty")


def broken_off(connection: Connection, act: str) -> None:
    """Send the first half of the answer, and then reset, close or half-close the connection."""
    request = connection.request()
    if request and request.streams:
        connection.send(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD))
    else:
        connection.send(with_length(200, BODY)[:-20])
    # What was sent arrives before the reset takes it back.
    connection.server.stopping.wait(0.1)
    if act == "reset":
        connection.reset()
    elif act == "half-close":
        connection.finish()
        connection.wait_for_close()


def truncated_without_length(connection: Connection) -> None:
    """A body that ends with the connection, as HTTP/1.0 has it: only its content shows that it is cut."""
    request = connection.request()
    if request and request.streams:
        connection.send(head(200, "content-type: text/event-stream", "connection: close"), ROLE, HELLO, WORLD)
    else:
        connection.send(head(200, "content-type: application/json", "connection: close"), BODY[:-20])


def whole_without_length(connection: Connection) -> None:
    request = connection.request()
    if request and request.streams:
        connection.send(head(200, "content-type: text/event-stream", "connection: close"), *WHOLE_STREAM)
    else:
        connection.send(head(200, "content-type: application/json", "connection: close"), BODY)


def bad_chunk_size(connection: Connection) -> None:
    request = connection.request()
    if request and request.streams:
        connection.send(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD), b"zz\r\nabc\r\n")
    else:
        connection.send(head(200, "content-type: application/json", "transfer-encoding: chunked"), b"zz\r\nabc\r\n")
    connection.wait_for_close()


def chunk_size_beyond_all_bounds(connection: Connection) -> None:
    connection.request()
    connection.send(head(200, "content-type: application/json", "transfer-encoding: chunked"), b"f" * 40 + b"\r\nabc")
    connection.wait_for_close()


def one_byte_at_a_time(connection: Connection) -> None:
    """The right answer, each byte in its own segment, with letters of several bytes."""
    while request := connection.request():
        body = json.dumps(answer("Grüße, 世界"), ensure_ascii=False).encode()
        stream = b"".join(pieces(ROLE, event(chunk("Grüße, 世界", "stop")), b"data: [DONE]\n\n"))
        data = STREAM_HEAD + stream + END if request.streams else with_length(200, body)
        connection.trickle(data, 0.0)


FAULTS = {
    "reset at once": Fault(reset_at_once, ConnectionFailed, ConnectionFailed, retryable),
    "reset before the answer": Fault(reset_before_the_answer, ConnectionFailed, ConnectionFailed, retryable),
    "closed before the answer": Fault(close_before_the_answer, ConnectionFailed, ConnectionFailed, retryable),
    "half-closed before the answer": Fault(
        half_closed_before_the_answer, ConnectionFailed, ConnectionFailed, retryable
    ),
    "closed within the headers": Fault(close_within_the_headers, ConnectionFailed, ConnectionFailed, retryable),
    "reset amid the answer": Fault(
        lambda c: broken_off(c, "reset"), ConnectionFailed, StreamInterrupted, keeps_the_text, partial=PARTIAL
    ),
    "closed amid the answer": Fault(
        lambda c: broken_off(c, "close"), ConnectionFailed, StreamInterrupted, keeps_the_text, partial=PARTIAL
    ),
    "half-closed amid the answer": Fault(
        lambda c: broken_off(c, "half-close"), ConnectionFailed, StreamInterrupted, keeps_the_text, partial=PARTIAL
    ),
    "cut, and no length": Fault(
        truncated_without_length, InvalidResponse, StreamInterrupted, keeps_the_text, partial=PARTIAL
    ),
    "whole, and no length": Fault(whole_without_length, CONTENT, CONTENT),
    # aiohttp sees it at once, or not at all, depending on the segments in which it arrives.
    "bad chunk size": Fault(
        bad_chunk_size, (InvalidResponse, RequestTimeout),
        (InvalidResponse, StreamInterrupted, StreamTimeout, RequestTimeout),
        partial=None, timeouts=HASTY,
    ),
    "chunk size beyond all bounds": Fault(
        chunk_size_beyond_all_bounds, (InvalidResponse, RequestTimeout), None, timeouts=HASTY
    ),
    "no HTTP": Fault(once(lambda c: c.send(b"SSH-2.0-OpenSSH_9.2\r\n")), InvalidResponse, InvalidResponse),
    "TLS on a plain port": Fault(
        once(lambda c: c.send(b"\x15\x03\x01\x00\x02\x02\x46")), InvalidResponse, InvalidResponse
    ),
    "101 without being asked": Fault(
        once(lambda c: c.send(head(101, "upgrade: websocket", "connection: upgrade"))), InvalidResponse, InvalidResponse
    ),
    "one byte at a time": Fault(one_byte_at_a_time, "Grüße, 世界", "Grüße, 世界", kept=True),
    "answer twice": Fault(always(with_length(200, BODY) * 2), CONTENT, None, kept=True),
}  # fmt: skip
"""Name -> fault."""
