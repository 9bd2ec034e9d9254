"""Requests to replicas over kept connections that the replica closes when it likes."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.http import Content, ProbeError, ReplicaClient, connection_error, new_session

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMIT = 1000


@pytest.fixture
async def session() -> AsyncIterator[ReplicaSession]:
    async with new_session() as made:
        yield made


class RawServer:
    """A server that speaks just enough HTTP to close, reset or forget a connection at a chosen moment.

    Args:
        answers: requests that are answered on one connection; the next one is met by `then`.
        then: function that ends the connection.
        idle: seconds after which a connection without a request is closed, as vLLM does after 5.
        body: answer to every request.
    """

    def __init__(
        self,
        answers: int = 10**9,
        then: Callable[[asyncio.StreamWriter], None] = asyncio.StreamWriter.close,
        idle: float | None = None,
        answer: bytes = ANSWER,
    ) -> None:
        self.answers, self.then, self.idle, self.answer = answers, then, idle, answer
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def client(self, session: ReplicaSession, **more: Any) -> ReplicaClient:
        """Return a client of this server."""
        port = self._server.sockets[0].getsockname()[1]
        return ReplicaClient(session, f"http://127.0.0.1:{port}", timeout=5, **more)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            for _ in range(self.answers):
                await self._receive(reader)
                writer.write(self.answer)
                await writer.drain()
            await self._receive(reader)
        self.then(writer)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.idle)
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.requests.append((head, body))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN, as a killed process with unread data does."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def request(replica: ReplicaClient, method: str) -> bytes:
    if method == "GET":
        return await replica.get("/path", LIMIT)
    return await replica.post("/path", Content(b"{}"), LIMIT, 5)


async def test_post_sends_json_with_the_headers_of_the_replica(session: ReplicaSession):
    async with RawServer() as server:
        replica = server.client(session, headers={"authorization": "Bearer k"})
        assert await replica.post("/v1/completions", Content(b'{"max_tokens":1}'), LIMIT, 5) == b"ok"
    ((head, body),) = server.requests
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
    assert b"content-type: application/json\r\n" in head.lower()
    assert b"authorization: bearer k\r\n" in head.lower()
    assert json.loads(body) == {"max_tokens": 1}


async def test_post_has_its_own_timeout(session: ReplicaSession):
    async with RawServer(answers=0, then=lambda writer: None) as server:
        with pytest.raises(ProbeError, match=r"^/v1/completions: no answer within 0\.1 s$") as caught:
            await server.client(session).post("/v1/completions", Content(b"{}"), LIMIT, 0.1)
    assert caught.value.reason == "Timeout"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_answer_beyond_the_limit_is_an_error(session: ReplicaSession, method: str):
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1001
    async with RawServer(answer=long) as server:
        with pytest.raises(ProbeError, match="/path answered with more than 1000 bytes"):
            await request(server.client(session), method)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_status_other_than_200_is_an_error(session: ReplicaSession, method: str):
    async with RawServer(answer=b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n") as server:
        with pytest.raises(ProbeError, match="/path answered 500") as caught:
            await request(server.client(session), method)
    assert caught.value.reason == "HTTPError"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_idle_connection_that_the_replica_closed_is_no_failure(session: ReplicaSession, method: str):
    async with RawServer(idle=0.1) as server:
        for _ in range(3):
            assert await request(server.client(session), method) == b"ok"
            await asyncio.sleep(0.3)
    assert server.connections == 3


@pytest.mark.parametrize("then", [asyncio.StreamWriter.close, reset])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_that_crosses_the_closing_of_its_connection_is_sent_again(
    session: ReplicaSession, method: str, then: Callable[[asyncio.StreamWriter], None]
):
    async with RawServer(answers=1, then=then) as server:
        for _ in range(4):
            assert await request(server.client(session), method) == b"ok"
    assert len(server.requests) == 7  # each but the first met a connection about to be closed


@pytest.mark.parametrize("then", [asyncio.StreamWriter.close, reset])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_replica_that_always_closes_is_unreachable_after_a_second_try(
    session: ReplicaSession, method: str, then: Callable[[asyncio.StreamWriter], None]
):
    async with RawServer(answers=0, then=then) as server:
        with pytest.raises(ProbeError, match="/path: the connection was closed without an answer") as caught:
            await request(server.client(session), method)
    assert caught.value.reason == "Unreachable"
    assert len(server.requests) == 2


async def test_address_that_swallows_connections_is_a_timeout(session: ReplicaSession):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(4):  # with its queue full the system drops every further SYN, as a firewall does
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        replica = ReplicaClient(session, f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.5)
        with pytest.raises(ProbeError, match=r"^/health: no answer within 0\.5 s$") as caught:
            await replica.get("/health", LIMIT)
    assert caught.value.reason == "Timeout"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_exhausted_file_limit_of_the_operator_is_named(code: int):
    error = connection_error(OSError(code, "Too many open files"), "/health", 10)
    assert error.reason == "Unreachable"
    assert "the operator may open no more files" in error.message


async def test_get_and_post_share_one_connection(session: ReplicaSession):
    async with RawServer() as server:
        for method in ("GET", "POST", "GET", "POST"):
            assert await request(server.client(session), method) == b"ok"
    assert server.connections == 1
