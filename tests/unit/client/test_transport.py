from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.client import (
    ClientConfig,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
    ResponseTooLarge,
    Timeouts,
)
from vllm_operator.client.config import Limits
from vllm_operator.client.transport import HttpRequest, Transport, error_of

GET = HttpRequest("GET", "/version")


async def raw_server(answer: bytes) -> tuple[asyncio.Server, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ConnectionFailed),
        (b"SSH-2.0-OpenSSH\r\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ConnectionFailed),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", ConnectionFailed),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ResponseTooLarge),
    ],
)
async def test_answers_that_are_no_answers_have_their_errors(answer: bytes, kind: type[Exception]) -> None:
    server, url = await raw_server(answer)
    transport = Transport(ClientConfig(base_url=url))
    async with server:
        with pytest.raises(kind, match=url):
            await (await transport.send(url, GET)).read()
    await transport.close()


async def test_chunked_answer_is_bounded() -> None:
    server, url = await raw_server(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n" + b"400\r\n"
    )
    transport = Transport(ClientConfig(base_url=url, limits=Limits(max_response_bytes=1024)))
    async with server:
        response = await transport.send(url, GET)
        with pytest.raises((ResponseTooLarge, ConnectionFailed)):
            await response.read()
    await transport.close()


async def test_start_of_a_long_answer_is_read(server: FakeVLLMServer) -> None:
    async def long(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 500_000)

    server.answers["/version"] = long
    transport = Transport(ClientConfig())
    assert len(await (await transport.send(server.url, GET)).read_start(1000)) == 1000
    await transport.close()


async def test_redirects_are_not_followed(server: FakeVLLMServer) -> None:
    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "http://elsewhere/"})

    server.answers["/version"] = redirect
    transport = Transport(ClientConfig())
    assert (await transport.send(server.url, GET)).status == 307
    await transport.close()


async def test_fresh_request_uses_its_own_connection(server: FakeVLLMServer) -> None:
    peers = []

    async def remember(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.Response()

    server.answers["/version"] = remember
    transport = Transport(ClientConfig())
    for fresh in (False, False, True, True):
        await (await transport.send(server.url, GET, fresh=fresh)).read()
    await transport.close()

    assert len(set(peers)) == 3


async def test_connect_timeout_is_named() -> None:
    """192.0.2.1 is reserved for documentation (RFC 5737): nothing answers, or the network refuses at once."""
    transport = Transport(ClientConfig(timeouts=Timeouts(connect=0.05)))
    with pytest.raises((RequestTimeout, ConnectionFailed)):
        await transport.send("http://192.0.2.1:9", GET)
    await transport.close()
    error = error_of(aiohttp.ConnectionTimeoutError(), "http://a", 0.05)
    assert isinstance(error, RequestTimeout)
    assert error.phase == "connect"


async def test_unknown_host_is_named() -> None:
    transport = Transport(ClientConfig())
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        await transport.send("http://no-such-host.invalid", GET)
    await transport.close()


def test_missing_ca_file_is_an_error(tmp_path: Path) -> None:
    async def make() -> None:
        Transport(ClientConfig(ca_file=tmp_path / "ca.pem"))

    with pytest.raises(OSError, match="No such file"):
        asyncio.run(make())
