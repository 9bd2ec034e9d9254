from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tools.hostile import replicas as module
from tools.hostile.replicas import Replicas

ADDRESS = "127.99.0.1"


@pytest.fixture
async def replicas(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> AsyncIterator[Replicas]:
    monkeypatch.setattr(module, "PORT", unused_tcp_port)
    made = Replicas()
    yield made
    made.close()


async def answer(path: str, address: str = ADDRESS) -> bytes:
    reader, writer = await asyncio.open_connection(address, module.PORT)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    async with asyncio.timeout(20):
        found = await reader.read(4096)
    writer.close()
    return found


async def test_address_answers_as_its_class(replicas: Replicas) -> None:
    await replicas.obey({"listen": {ADDRESS: "well"}})

    assert (await answer("/version")).endswith(b'{"version":"0.32.0"}')


async def test_class_of_an_address_can_change(replicas: Replicas) -> None:
    await replicas.obey({"listen": {ADDRESS: "well"}})
    await replicas.obey({"listen": {ADDRESS: "h1"}})

    assert (await answer("/health")).startswith(b"HTTP/1.1 100 Continue")


async def test_report_counts_requests_of_each_class_and_starts_again(replicas: Replicas) -> None:
    await replicas.obey({"listen": {ADDRESS: "well"}})
    await answer("/health")

    assert (await replicas.obey({"report": 1.0}))["asked"] == {"well": 1}
    assert (await replicas.obey({"report": 1.0}))["asked"] == {}


async def test_pace_counts_only_replicas_that_behave(replicas: Replicas) -> None:
    await replicas.obey({"listen": {ADDRESS: "well", "127.99.0.2": "stalled"}})
    await answer("/v1/models")
    await answer("/v1/models", "127.99.0.2")

    assert (await replicas.obey({"report": 1.0}))["probes"] == 1


async def test_connection_that_is_cut_ends_within_the_answer(replicas: Replicas) -> None:
    await replicas.obey({"listen": {ADDRESS: "half"}})

    assert not (await answer("/version")).endswith(b"}")
