"""Answer chat completions on loopback as fast as possible: the server that `make bench-client` measures clients with.

The answers have the fields and the order of fields of vLLM 0.32. It prints its port on standard output, and ends when
its standard input ends. `POST /v1/chat/completions` answers 1 KB of text. With `"stream": true` it sends
`STREAM_CHUNKS` chunks, each in its own chunk of HTTP; the header `x-interval-ms` puts that time between them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import orjson
import uvloop

MODEL = "tiny"
ANSWER_CHARACTERS = 1000
"""With the other fields of the answer, its body has 1.5 KB."""
STREAM_CHUNKS = 100
BACKLOG = 4096
"""Connections that wait to be accepted: more than the 1,000 streams that a client opens at once."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_INTERVAL = re.compile(rb"\r\nx-interval-ms: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_END_OF_HEAD = b"\r\n\r\n"


def answer_body() -> bytes:
    """Return the body of one chat completion."""
    message = {
        "role": "assistant",
        "content": "x" * ANSWER_CHARACTERS,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "reasoning": None,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    usage = {"prompt_tokens": 12, "total_tokens": 268, "completion_tokens": 256, "prompt_tokens_details": None}
    return orjson.dumps(
        {
            "id": "chatcmpl-8f1d9b0a5c3e4d7f",
            "object": "chat.completion",
            "created": 1772445600,
            "model": MODEL,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage,
            "prompt_logprobs": None,
            "kv_transfer_params": None,
        }
    )


def stream_events() -> list[bytes]:
    """Return the events of one stream: the role, the tokens, the usage, and `[DONE]`."""
    head = {
        "id": "chatcmpl-8f1d9b0a5c3e4d7f",
        "object": "chat.completion.chunk",
        "created": 1772445600,
        "model": MODEL,
    }

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
        return b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"

    usage = {"prompt_tokens": 12, "total_tokens": 12 + STREAM_CHUNKS, "completion_tokens": STREAM_CHUNKS}
    tokens = [chunk({"content": " token"}) for _ in range(STREAM_CHUNKS - 1)]
    last = b"data: " + orjson.dumps({**head, "choices": [], "usage": usage}) + b"\n\n"
    return [
        chunk({"role": "assistant", "content": ""}), *tokens, chunk({"content": " end"}, "length"), last,
        b"data: [DONE]\n\n",
    ]  # fmt: skip


def _http_chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


_COMMON = b"date: Mon, 02 Mar 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
_BODY = answer_body()
_ANSWER = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (
    _COMMON,
    len(_BODY),
    _BODY,
)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n%bcontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    % _COMMON
)
_STREAM_PARTS = [_http_chunk(event) for event in stream_events()]
_STREAM_PARTS[-1] += b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection, whose requests are answered one after another."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # The transport of uvloop is no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = bytes(self._received[:end])
            length = _LENGTH.search(head)
            total = end + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
            if len(self._received) < total:
                return
            body = bytes(self._received[end + len(_END_OF_HEAD) : total])
            del self._received[:total]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if not _STREAM.search(body):
            self._transport.write(_ANSWER)
            return
        interval = _INTERVAL.search(head)
        self._transport.write(_STREAM_HEAD)
        self._send(0, int(interval[1]) / 1000 if interval else 0.0)

    def _send(self, place: int, interval: float) -> None:
        """Send one chunk, and then the next one after all other connections had their turn."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(_STREAM_PARTS[place])
        if place + 1 < len(_STREAM_PARTS):
            loop = asyncio.get_running_loop()
            loop.call_later(interval, self._send, place + 1, interval) if interval else loop.call_soon(
                self._send, place + 1, 0.0
            )


async def serve() -> None:
    """Listen until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
