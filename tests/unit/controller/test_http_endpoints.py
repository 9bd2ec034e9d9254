"""Serve /healthz, /readyz and /metrics over real HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from vllm_operator.controller.connection_limit import MAX_CONNECTIONS
from vllm_operator.controller.http_endpoints import HttpEndpoints, ListenError
from vllm_operator.controller.metrics import Metrics


class Site:
    """The endpoints of a process that works, until `failure` says why it does not."""

    def __init__(self) -> None:
        self.failure = ""
        self.endpoints = HttpEndpoints("127.0.0.1:0", Metrics(), lambda: self.failure)

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.endpoints.port}{path}") as response,
        ):
            return response.status, await response.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.endpoints.start()
    yield made
    await made.endpoints.stop()


async def test_healthz_fails_with_the_cause(site: Site) -> None:
    assert await site.get("/healthz") == (200, "ok\n")
    site.failure = "a task has ended"
    assert await site.get("/healthz") == (500, "a task has ended\n")


async def test_readyz_waits_for_the_caches(site: Site) -> None:
    assert await site.get("/readyz") == (503, "the caches are filling\n")
    site.endpoints.ready = True
    assert await site.get("/readyz") == (200, "ok\n")


async def test_metrics_are_exported(site: Site) -> None:
    status, text = await site.get("/metrics")
    assert status == 200
    assert "vllm_operator_build_info" in text


@pytest.mark.parametrize("listen", ["127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1", "256.0.0.1:8080"])
async def test_invalid_address_is_reported(listen: str) -> None:
    endpoints = HttpEndpoints(listen, Metrics(), lambda: "")
    with pytest.raises(ListenError, match=f"--listen {listen}"):
        await endpoints.start()
    await endpoints.stop()


async def test_address_that_is_taken_is_reported(site: Site) -> None:
    endpoints = HttpEndpoints(f"127.0.0.1:{site.endpoints.port}", Metrics(), lambda: "")
    with pytest.raises(ListenError, match="in use"):
        await endpoints.start()
    await endpoints.stop()


async def test_each_connection_serves_one_request(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.endpoints.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answers
    writer.close()


async def test_flood_of_silent_connections_does_not_keep_the_kubelet_out(site: Site) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", site.endpoints.port) for _ in range(3 * MAX_CONNECTIONS)]
    for _, writer in opened:
        writer.write(b"GET /healthz HTTP/1.1\r\nHos")
    assert await site.get("/healthz") == (200, "ok\n")
    closed = await asyncio.gather(*(ended(reader) for reader, _ in opened))
    assert sum(closed) >= 2 * MAX_CONNECTIONS
    for _, writer in opened:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side has closed the connection."""
    try:
        async with asyncio.timeout(0.2):
            return await reader.read() == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
