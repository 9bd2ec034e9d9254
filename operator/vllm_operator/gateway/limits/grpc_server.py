"""A gRPC server for one unary method, on a Unix socket that only Envoy reaches.

It reads no headers: every stream of the socket is a call of the one method. A call takes 30 µs; one of grpcio, 250 µs
(decision 0035). Frames are those of RFC 9113.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

Handler = Callable[[bytes], bytes | Awaitable[bytes]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
FRAME_HEADER_BYTES = 9
MAX_FRAME_BYTES = 16_384
MAX_MESSAGE_BYTES = 65_536
"""Bytes of one call. A real one has some 300."""
MAX_STREAMS = 20_000
"""Calls at once on one connection."""
WINDOW_STEP = 32_768
"""Received bytes after which the window of the connection is opened again."""
_RESPONSE_HEADERS = b"\x88" + b"\x0f\x10\x10application/grpc"
"""`:status: 200` of HPACK's static table, and content-type as a literal without indexing."""
_TRAILERS = b"\x00\x0bgrpc-status\x010"
_SETTINGS = struct.pack(">HIHIHI", 1, 0, 3, MAX_STREAMS, 4, MAX_MESSAGE_BYTES)
"""No dynamic table for headers, calls at once, window of a call."""

logger = logging.getLogger(__name__)


class UnaryServer:
    """Answers calls with a handler.

    Args:
        path: path of the Unix socket.
        handler: takes a message and returns its answer, at once or later.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[_EnvoyConnection] = set()

    async def start(self) -> None:
        """Listen; a socket that a former process left is replaced."""
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: _EnvoyConnection(self._handler, self._connections), str(self._path)
        )
        os.chmod(self._path, 0o660)

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()


class _EnvoyConnection(asyncio.Protocol):
    """One HTTP/2 connection of Envoy."""

    def __init__(self, handler: Handler, connections: set[_EnvoyConnection]) -> None:
        self._handler = handler
        self._connections = connections
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._streams: dict[int, bytearray] = {}
        self._waiting: list[tuple[int, bytes]] = []
        """Answers that the window of the connection has no room for."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._window = 65_535
        self._received = 0
        self._began = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are no subclasses of those of asyncio.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._connections.add(self)
        self._write(SETTINGS, 0, 0, _SETTINGS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.discard(self)
        for task in self._tasks:
            task.cancel()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._read()
        except (ValueError, struct.error) as error:
            logger.warning("a rate limit connection was closed: %s", error)
            if self._transport is not None:
                self._transport.close()

    def _read(self) -> None:
        buffer = self._buffer
        if not self._began:
            if len(buffer) < len(PREFACE):
                return
            if not buffer.startswith(PREFACE):
                raise ValueError("no HTTP/2")
            del buffer[: len(PREFACE)]
            self._began = True
        at = 0
        while len(buffer) - at >= FRAME_HEADER_BYTES:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if size > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            end = at + FRAME_HEADER_BYTES + size
            if len(buffer) < end:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._on_frame(buffer[at + 3], buffer[at + 4], stream, bytes(buffer[at + FRAME_HEADER_BYTES : end]))
            at = end
        del buffer[:at]

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._on_data(stream, flags, payload)
        elif kind == HEADERS:
            self._on_headers(stream, flags)
        elif kind == SETTINGS and not flags & ACK:
            self._write(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._write(PING, ACK, 0, payload)
        elif kind == RST_STREAM:
            self._streams.pop(stream, None)
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += struct.unpack(">I", payload)[0] & 0x7FFFFFFF
            waiting, self._waiting = self._waiting, []
            for place, answer in waiting:
                self._answer(place, answer)

    def _on_headers(self, stream: int, flags: int) -> None:
        if len(self._streams) >= MAX_STREAMS:
            raise ValueError("too many calls at once")
        if flags & END_STREAM:
            raise ValueError("a call without a message")
        self._streams[stream] = bytearray()

    def _on_data(self, stream: int, flags: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received >= WINDOW_STEP:
            self._write(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._received))
            self._received = 0
        message = self._streams.get(stream)
        if message is None:
            return
        message += payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
        if len(message) > MAX_MESSAGE_BYTES:
            raise ValueError("a call is too long")
        if flags & END_STREAM:
            del self._streams[stream]
            self._call(stream, bytes(message[5:]))

    def _call(self, stream: int, message: bytes) -> None:
        answer = self._handler(message)
        if isinstance(answer, bytes):
            self._answer(stream, answer)
            return
        task = asyncio.ensure_future(self._answer_later(stream, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, stream: int, answer: Awaitable[bytes]) -> None:
        self._answer(stream, await answer)

    def _answer(self, stream: int, message: bytes) -> None:
        body = b"\x00" + struct.pack(">I", len(message)) + message
        if len(body) > self._window:
            self._waiting.append((stream, message))
            return
        self._window -= len(body)
        if self._transport is None:
            return
        self._transport.write(
            _frame(HEADERS, END_HEADERS, stream, _RESPONSE_HEADERS)
            + _frame(DATA, 0, stream, body)
            + _frame(HEADERS, END_HEADERS | END_STREAM, stream, _TRAILERS)
        )

    def _write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(_frame(kind, flags, stream, payload))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
