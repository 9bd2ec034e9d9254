"""Connections that are kept, and replicas that send what nobody asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.fuzz import http_answers
from vllm_operator.probing import connections
from vllm_operator.probing.body_budget import BodyBudget
from vllm_operator.probing.connections import (
    FREE_READS,
    PAUSE_SECONDS,
    ReplicaSession,
    UnusableAddressError,
    parse_address,
)
from vllm_operator.probing.http import AnswerTooLongError, ProbeError, ReplicaClient

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Writer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """A server that answers each request by a script, and counts the bytes that it could send.

    Args:
        script: writes the answer, and whatever else.
    """

    def __init__(self, script: Writer) -> None:
        self._script = script
        self.connections = self.open = self.requests = 0

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def client(self, session: ReplicaSession) -> ReplicaClient:
        port = self._server.sockets[0].getsockname()[1]
        return ReplicaClient(session, f"http://127.0.0.1:{port}", timeout=2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                await self._script(writer)
        self.open -= 1
        writer.transport.abort()


async def plain(writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


def then_endless(part: bytes) -> Writer:
    """Return a script that answers, and a moment later sends `part` until the connection is closed."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)
        await asyncio.sleep(0.05)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return script


async def test_kept_connection_is_used_again(session: ReplicaSession) -> None:
    async with ScriptedServer(plain) as server:
        for _ in range(5):
            assert await server.client(session).get("/", 100) == b"ok"
    assert (server.connections, server.requests) == (1, 5)


@pytest.mark.parametrize(
    "part", [ANSWER, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"x", b"\x00" * 65536]
)
async def test_connection_that_sends_unasked_bytes_is_closed(session: ReplicaSession, part: bytes) -> None:
    async with ScriptedServer(then_endless(part)) as server:
        assert await server.client(session).get("/", 100) == b"ok"
        async with asyncio.timeout(5):
            while server.open:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await server.client(session).get("/", 100) == b"ok"
    assert server.connections == 2


async def test_one_connection_is_kept_of_those_that_were_open_at_once(session: ReplicaSession) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(ANSWER)

    async with ScriptedServer(slowly) as server:
        await asyncio.gather(*(server.client(session).get("/", 100) for _ in range(5)))
        assert server.connections == 5
        await asyncio.sleep(0.05)
        assert server.open == 1
        await server.client(session).get("/", 100)
        assert server.connections == 5


async def test_idle_connection_is_closed_after_its_time(
    session: ReplicaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.1)
    async with ScriptedServer(plain) as server:
        await server.client(session).get("/", 100)
        await asyncio.sleep(0.3)
        assert server.open == 0
        assert await server.client(session).get("/", 100) == b"ok"
    assert server.connections == 2


async def test_cancelled_request_closes_its_connection(session: ReplicaSession) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        """Answer nothing."""

    async with ScriptedServer(silent) as server:
        request = asyncio.create_task(server.client(session).get("/", 100))
        await asyncio.sleep(0.05)
        assert server.open == 1
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert server.open == 0


async def test_session_closes_its_connections(session: ReplicaSession) -> None:
    async with ScriptedServer(plain) as server:
        await server.client(session).get("/", 100)
        await session.close()
        await asyncio.sleep(0.05)
        assert server.open == 0


async def test_single_bytes_cause_few_reads(session: ReplicaSession, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    feed = connections.HttpAnswer.feed

    def counted(answer: connections.HttpAnswer, data: bytes) -> None:
        nonlocal reads
        reads += 1
        feed(answer, data)

    async def single_bytes(writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    monkeypatch.setattr(connections.HttpAnswer, "feed", counted)
    async with ScriptedServer(single_bytes) as server:
        with suppress(ProbeError):
            await server.client(session).get("/", 200_000)
    assert FREE_READS < reads <= FREE_READS + 2 / PAUSE_SECONDS + 10


async def test_large_answer_is_read_in_time(session: ReplicaSession) -> None:
    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000)

    async with ScriptedServer(large) as server:
        assert len(await server.client(session).get("/", 1_000_000)) == 1_000_000


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://10.1.2.3:8000", ("10.1.2.3", 8000)),
        ("http://[2001:db8::1]:8000", ("2001:db8::1", 8000)),
        ("http://10.1.2.3", ("10.1.2.3", 80)),
    ],
)
def test_address_is_read_from_the_url(url: str, address: tuple[str, int]) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["", "http://", "http://[::1", "ftp://10.1.2.3", "http://10.1.2.3:99999", "10.1.2.3"])
def test_unusable_address_is_an_error(url: str) -> None:
    with pytest.raises(UnusableAddressError):
        parse_address(url)


async def test_large_answers_of_one_namespace_are_cut_at_its_share(
    session: ReplicaSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 300001\r\n\r\n" + b"x" * 300_000)
        await release.wait()
        writer.write(b"x")

    monkeypatch.setattr(session, "_budget", BodyBudget(2_000_000))
    async with ScriptedServer(slowly) as server:
        greedy = replace(server.client(session), namespace="greedy")
        requests = [asyncio.create_task(greedy.get("/", 400_000)) for _ in range(20)]
        await asyncio.sleep(0.3)
        other = asyncio.create_task(replace(greedy, namespace="other").get("/", 400_000))
        await asyncio.sleep(0.1)
        release.set()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert len(await other) == 300_001
    cut = [outcome for outcome in outcomes if isinstance(outcome, AnswerTooLongError)]
    assert len(cut) >= 15
    assert cut[0].message.startswith("/: not read to its end: the answers of this namespace")


async def test_fuzzed_answers_neither_stop_the_loop_nor_fill_the_memory() -> None:
    """The same as `make fuzz-http`, with 300 answers. The bounds are ten times those that hold on an idle machine."""
    report = await http_answers.run(300, seed=1)
    assert report.errors == []
    assert report.still < 10 * http_answers.GOAL_SECONDS
    assert report.grown_mib < 64
    assert len(report.outcomes) >= 3
