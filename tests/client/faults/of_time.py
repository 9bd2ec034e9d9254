"""Faults of time: servers that are slow, trickle, or freeze."""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.client.faults.fault import HASTY, Fault
from tests.client.faults.server import Connection
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
    answer,
    head,
    once,
    pieces,
    with_length,
)
from vllm_operator.client import RequestTimeout, StreamTimeout, Timeouts

QUICK_BETWEEN = Timeouts(connect=1, first_token=5, between_tokens=0.3, whole=10)
LATE_SECONDS = 0.3


def phase(name: str) -> Any:
    """Return a check of the timeout that ended a call."""

    def check(error: RequestTimeout) -> None:
        assert isinstance(error, TimeoutError)
        if isinstance(error, StreamTimeout) or name == "first_token":
            assert error.phase in (name, "whole")
        assert "timeouts." in str(error)

    return check


def late(connection: Connection) -> None:
    """Send the right answer after a while."""
    while request := connection.request():
        connection.server.stopping.wait(LATE_SECONDS)
        if request.streams:
            connection.send(STREAM_HEAD, *pieces(ROLE))
            connection.server.stopping.wait(LATE_SECONDS)
            connection.send(*pieces(HELLO, WORLD, FINISH, LAST, DONE), END)
        else:
            connection.send(with_length(200, json.dumps(answer()).encode()))


def frozen(connection: Connection) -> None:
    connection.request()
    connection.wait_for_close()


def frozen_after(*parts: bytes) -> Any:
    return once(lambda connection: connection.send(*parts))


def trickled_headers(connection: Connection) -> None:
    connection.request()
    connection.trickle(b"HTTP/1.1 200 OK\r\n" + b"x-more: yes\r\n" * 10_000)


def trickled_body(connection: Connection) -> None:
    request = connection.request()
    if request and request.streams:
        connection.send(STREAM_HEAD)
        connection.trickle(itertools.chain.from_iterable(itertools.repeat(b"1\r\n:\r\n", 10_000)))
    else:
        connection.send(head(200, "content-type: application/json", "content-length: 100000"))
        connection.trickle(b" " * 100_000)


def trickled_error(connection: Connection) -> None:
    connection.request()
    connection.send(head(500, "content-type: application/json", "content-length: 60000"))
    connection.trickle(b" " * 60_000)


def pings(*first: bytes) -> Any:
    """Send comments, as a proxy does to keep a connection open, and no token."""

    def act(connection: Connection) -> None:
        connection.send(STREAM_HEAD, *pieces(*first))
        while not connection.server.stopping.wait(0.02):
            connection.send(*pieces(b": ping\n\n"))

    return once(act)


def interim_answers(connection: Connection) -> None:
    connection.request()
    while not connection.server.stopping.wait(0.02):
        connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")


FAULTS = {
    "late answer": Fault(late, CONTENT, CONTENT, kept=True),
    "frozen before the headers": Fault(frozen, RequestTimeout, RequestTimeout, phase("first_token"), timeouts=HASTY),
    "frozen after the headers": Fault(
        frozen_after(STREAM_HEAD), None, RequestTimeout, phase("first_token"), timeouts=HASTY
    ),
    "frozen within the headers": Fault(
        frozen_after(b"HTTP/1.1 200 OK\r\ncontent-"), RequestTimeout, RequestTimeout, phase("first_token"),
        timeouts=HASTY,
    ),
    "frozen within the body": Fault(
        frozen_after(head(200, "content-type: application/json", "content-length: 500"), b"{"), RequestTimeout, None,
        timeouts=HASTY,
    ),
    "frozen amid the stream": Fault(
        frozen_after(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD)), None, StreamTimeout, phase("between_tokens"),
        timeouts=QUICK_BETWEEN, partial=CONTENT,
    ),
    "frozen before [DONE]": Fault(
        frozen_after(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD, FINISH)), None, StreamTimeout, phase("between_tokens"),
        timeouts=QUICK_BETWEEN, partial=CONTENT,
    ),
    "frozen after [DONE]": Fault(
        frozen_after(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD, FINISH, LAST, DONE)), None, CONTENT,
        timeouts=QUICK_BETWEEN,
    ),
    "trickled headers": Fault(
        trickled_headers, RequestTimeout, RequestTimeout, phase("first_token"), timeouts=HASTY
    ),
    "trickled body": Fault(trickled_body, RequestTimeout, RequestTimeout, phase("first_token"), timeouts=HASTY),
    "trickled error": Fault(trickled_error, RequestTimeout, RequestTimeout, phase("first_token"), timeouts=HASTY),
    "comments before the first token": Fault(
        pings(), None, RequestTimeout, phase("first_token"), timeouts=HASTY
    ),
    "comments between tokens": Fault(
        pings(ROLE, HELLO, WORLD), None, StreamTimeout, phase("between_tokens"), timeouts=QUICK_BETWEEN, partial=CONTENT
    ),
    "interim answers without end": Fault(
        interim_answers, RequestTimeout, RequestTimeout, phase("first_token"), timeouts=HASTY
    ),
}  # fmt: skip
"""Name -> fault."""
