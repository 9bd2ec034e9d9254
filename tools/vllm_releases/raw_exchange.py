"""Send one HTTP request over its own connection, and keep what came back and how it ended."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEPT_HEADERS = ("content-type", "retry-after", "www-authenticate", "location", "transfer-encoding", "allow")
MAX_BODY_BYTES = 64 * 1024
"""More of a body is not kept: the longest recorded one, the metrics, is cut."""

STABLE = (
    (r'"(id|request_id)":\s*"(chatcmpl|cmpl|embd|score|rerank|pool|modelperm|resp|msg)[-_][^"]*"', r'"\1":"\2-0"'),
    (r'"created":\s*\d+', '"created":1772445600'),
    (r"/[^\s\"']*/models/tiny", "/models/tiny"),
    (r"0x[0-9a-f]{8,}", "0x0"),
)
"""Patterns of values that differ between two recordings of the same release, and their replacements."""


@dataclass
class Exchange:
    """One request and its answer.

    Attributes:
        status: HTTP status; 0 when no answer came.
        ended: `complete`, `incomplete` (the connection closed before the end of the body), `silent` (nothing came
            for the given time), `refused`, `reset` or `closed` (before an answer).
    """

    method: str
    path: str
    request: Any
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    ended: str = "complete"

    def as_json(self) -> dict[str, Any]:
        """Return what is written to a recording."""
        return {
            "request": {"method": self.method, "path": self.path, "body": self.request},
            "status": self.status,
            "headers": self.headers,
            "body": stable(self.body),
            "ended": self.ended,
        }


def stable(text: str) -> str:
    """Return a text without what differs between two recordings."""
    for pattern, replacement in STABLE:
        text = re.sub(pattern, replacement, text)
    return text


@dataclass(frozen=True)
class Call:
    """How one request is sent.

    Attributes:
        body: a value for JSON, text to send as it is, or None for no body.
        during: called once when the first bytes of the body have arrived.
        wait_seconds: longest time without a byte.
        keep_bytes: the connection is closed after this many bytes of the body.
    """

    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    during: Callable[[], None] | None = None
    wait_seconds: float = 60.0
    keep_bytes: int = MAX_BODY_BYTES


def send(port: int, call: Call) -> Exchange:
    """Return the exchange; it never raises for what the server does."""
    exchange = Exchange(call.method, call.path, call.body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=call.wait_seconds)
    payload = call.body if isinstance(call.body, str) or call.body is None else json.dumps(call.body)
    try:
        connection.request(call.method, call.path, payload, {"content-type": "application/json", **call.headers})
        answer = connection.getresponse()
        exchange.status = answer.status
        exchange.headers = {name: value for name in KEPT_HEADERS if (value := answer.getheader(name)) is not None}
        with answer:  # Its file keeps the socket open otherwise, and the server sees no end.
            exchange.body = _read(answer, call, exchange)
    except TimeoutError:
        exchange.ended = "silent"
    except ConnectionRefusedError:
        exchange.ended = "refused"
    except ConnectionResetError:
        exchange.ended = "reset" if not exchange.status else "incomplete"
    except http.client.HTTPException:
        exchange.ended = "closed" if not exchange.status else "incomplete"
    finally:
        connection.close()
    return exchange


def _read(answer: http.client.HTTPResponse, call: Call, exchange: Exchange) -> str:
    """Read the body part by part, so that what came before an end by force is kept."""
    parts = bytearray()
    during = call.during
    try:
        while len(parts) < call.keep_bytes and (part := answer.read1(8192)):
            parts += part
            if during is not None:
                during()
                during = None
    except TimeoutError:
        exchange.ended = "silent"
    except (http.client.IncompleteRead, ConnectionResetError):
        exchange.ended = "incomplete"
    if answer.length:
        exchange.ended = "incomplete"
    return parts.decode(errors="replace")


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition held within this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False
