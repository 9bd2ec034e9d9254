"""Connections that are too many or too old are closed, those of the busiest address first."""

from __future__ import annotations

import asyncio
from typing import Any

from vllm_operator.controller.connection_limit import ConnectionLimiter


class FakeTransport:
    """A transport from an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.protocol: asyncio.Protocol | None = None
        self.aborted = False
        self.ended = asyncio.Event()

    def get_extra_info(self, name: str) -> Any:
        return (self.address, 4711) if name == "peername" else None

    def abort(self) -> None:
        self.aborted = True
        self.ended.set()
        assert self.protocol is not None
        self.protocol.connection_lost(None)


def opened(limiter: ConnectionLimiter, address: str) -> FakeTransport:
    transport: Any = FakeTransport(address)
    transport.protocol = limiter()
    transport.protocol.connection_made(transport)
    return transport  # type: ignore[no-any-return]


async def test_oldest_connection_of_the_busiest_address_is_closed() -> None:
    limiter = ConnectionLimiter(asyncio.Protocol, limit=4)
    kubelet = opened(limiter, "10.0.0.1")
    noisy = [opened(limiter, "10.0.0.2") for _ in range(10)]
    assert not kubelet.aborted
    assert [transport.aborted for transport in noisy] == [True] * 7 + [False] * 3
    assert limiter.count == 4


async def test_flood_from_many_addresses_leaves_the_newest() -> None:
    limiter = ConnectionLimiter(asyncio.Protocol, limit=4)
    flood = [opened(limiter, f"10.0.1.{number}") for number in range(10) for _ in range(2)]
    kubelet = opened(limiter, "10.0.0.1")
    assert not kubelet.aborted
    assert limiter.count == 4
    assert sum(not transport.aborted for transport in flood) == 3


async def test_silent_connection_is_closed_when_its_time_is_over() -> None:
    limiter = ConnectionLimiter(asyncio.Protocol, seconds=0.01)
    silent = opened(limiter, "10.0.0.2")
    await asyncio.wait_for(silent.ended.wait(), 5)
    assert limiter.count == 0


async def test_connection_that_ended_is_forgotten() -> None:
    limiter = ConnectionLimiter(asyncio.Protocol)
    transport = opened(limiter, "10.0.0.2")
    assert transport.protocol is not None
    transport.protocol.connection_lost(None)
    transport.protocol.connection_lost(None)
    assert (limiter.count, limiter._open) == (0, {})
