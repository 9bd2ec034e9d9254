from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from typing import Any

import pytest

from vllm_operator.gateway.limits import peers
from vllm_operator.gateway.limits.limiter import RateDecision
from vllm_operator.gateway.limits.peers import PeerClients, PeerServer, choose_owner, peer_secret
from vllm_operator.gateway.limits.service import LimitCall


def test_keys_spread_over_the_agents_and_few_move_when_one_leaves() -> None:
    agents = [f"10.0.0.{number}:8083" for number in range(4)]
    keys = [f"key-{number}" for number in range(400)]
    before = {key: choose_owner(key, agents) for key in keys}
    assert min(Counter(before.values()).values()) > 60
    after = {key: choose_owner(key, agents[:3]) for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != agents[3])


def test_an_agent_alone_counts_for_all_keys() -> None:
    clients = PeerClients("a:1", lambda: b"")
    assert clients.owner("k") is None
    clients.set_agents(["a:1", "b:1"])
    assert clients.count == 2
    assert {clients.owner(f"k{number}") for number in range(50)} == {None, "b:1"}
    clients.set_agents([])
    assert clients.count == 1


def test_the_secret_depends_on_gateway_and_keys() -> None:
    assert peer_secret("uid", ["a", "b"]) == peer_secret("uid", ["b", "a"])
    assert len({peer_secret("uid", ["a"]), peer_secret("uid", ["b"]), peer_secret("other", ["a"])}) == 3


async def test_a_proof_that_is_no_text_ends_the_connection_without_an_error() -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    server = PeerServer(lambda call: RateDecision(), lambda: [b"secret"])
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"\xff\xfe\n")
    assert await reader.read() == b""
    writer.close()
    await server.stop()
    assert errors == []


async def test_connections_without_a_proof_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_UNPROVEN", 2)
    server = PeerServer(lambda call: RateDecision(), lambda: [b"secret"])
    port = await server.start("127.0.0.1", 0)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    nonces = [(await reader.readline()).strip() for reader, _ in opened]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b""
    writer.close()

    opened[0][1].write(hmac.new(b"secret", nonces[0], hashlib.sha256).hexdigest().encode() + b"\n")
    async with asyncio.timeout(5):
        while True:
            opened.append(await asyncio.open_connection("127.0.0.1", port))
            if await opened[-1][0].readline():
                break
    for _, writer in opened:
        writer.close()
    await server.stop()


async def test_calls_of_other_types_end_the_connection_without_an_error() -> None:
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    server = PeerServer(lambda call: RateDecision(), lambda: [b"secret"])
    port = await server.start("127.0.0.1", 0)
    for line in (b"[]", b"7", b"[" * 9000):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        nonce = (await reader.readline()).strip()
        writer.write(hmac.new(b"secret", nonce, hashlib.sha256).hexdigest().encode() + b"\n" + line + b"\n")
        assert await reader.read() == b""
        writer.close()
    await server.stop()
    assert errors == []


async def test_an_agent_that_leaves_while_it_is_asked_counts_as_lost() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    clients = PeerClients("127.0.0.1:1", lambda: b"secret")
    clients.set_agents([address])
    asked = asyncio.ensure_future(clients.ask(address, LimitCall("start", "a", "m", "1")))
    await asyncio.sleep(0.05)
    clients.set_agents([])
    with pytest.raises(ConnectionError):
        await asked
    listener.close()


def test_the_memory_of_owners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_OWNERS", 10)
    clients = PeerClients("10.0.0.1:8083", lambda: b"")
    clients.set_agents(["10.0.0.2:8083"])
    first = [clients.owner(f"jwt:{i}") for i in range(25)]
    assert len(clients._owners) <= 10
    assert first == [clients.owner(f"jwt:{i}") for i in range(25)]
