"""Limits of requests and tokens at the real Envoy, with one and with two replicas of the gateway."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.gateway.gateway_process import GatewayProcess, free_port, key_entry, server_state
from tests.gateway.requests import bearer, chat, post
from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.gateway.limits.peers import PeerClients, PeerServer

AUTH = {"secrets": [{"name": "keys"}]}
KEYS = (key_entry("alice", "sk-alice"), key_entry("bob", "sk-bob"))


def limited(replica: FakeVLLMServer, *limits: dict[str, Any]) -> GatewayProcess:
    gateway = GatewayProcess({"auth": AUTH, "limits": list(limits)})
    gateway.set(server_state("tiny", replica), server_state("other", replica), keys=KEYS)
    return gateway


async def test_requests_a_minute_are_counted_for_each_key(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with limited(replicas[0], {"requestsPerMinute": 10}) as gateway:
        for key in ("sk-alice", "sk-bob"):
            answers = await asyncio.gather(*(post(session, gateway, headers=bearer(key)) for _ in range(25)))
            assert Counter(answer.status for answer in answers) == {200: 10, 429: 15}
            refused = next(answer for answer in answers if answer.status == 429)
            assert 1 <= int(refused.headers["retry-after"]) <= 61
            assert refused.headers["content-type"] == "application/json"
            assert refused.headers["x-ratelimit-limit-requests"] == "10"
            assert refused.headers["x-ratelimit-remaining-requests"] == "0"
            assert refused.json["error"]["code"] == 429
            allowed = sorted(int(a.headers["x-ratelimit-remaining-requests"]) for a in answers if a.status == 200)
            assert allowed == list(range(10))


async def test_a_limit_of_one_key_and_model_leaves_others_free(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with limited(replicas[0], {"key": "alice", "model": "tiny", "requestsPerMinute": 2}) as gateway:
        statuses = [(await post(session, gateway, headers=bearer("sk-alice"))).status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        assert (await post(session, gateway, chat(model="other"), headers=bearer("sk-alice"))).status == 200
        assert (await post(session, gateway, headers=bearer("sk-bob"))).status == 200


async def test_tokens_are_charged_after_the_answer_streamed_or_not(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    # The stand-in reports 5 tokens of the prompt, and one for each of its two words.
    for stream in (False, True):
        async with limited(replicas[0], {"tokensPerMinute": 20}) as gateway:
            statuses = []
            for _ in range(6):
                answer = await post(session, gateway, chat(stream=stream), headers=bearer("sk-alice"))
                statuses.append(answer.status)
                assert "usage" not in answer.text or not stream
                await asyncio.sleep(0.05)
            assert statuses == [200, 200, 200, 429, 429, 429]


async def test_a_client_that_asks_for_the_usage_of_a_stream_gets_it(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with limited(replicas[0], {"tokensPerMinute": 1000}) as gateway:
        body = chat(stream=True, stream_options={"include_usage": True})
        answer = await post(session, gateway, body, headers=bearer("sk-alice"))
        assert '"total_tokens":7' in answer.text.replace(" ", "")
        answer = await post(
            session, gateway, chat(stream=True, stream_options={"include_usage": False}), headers=bearer("sk-alice")
        )
        assert "usage" not in answer.text
        assert answer.text.rstrip().endswith("data: [DONE]")


async def test_requests_at_once_are_bounded_and_given_back(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    replicas[0].word_seconds = 0.3
    async with limited(replicas[0], {"concurrent": 3}) as gateway:
        for _ in range(2):
            answers = await asyncio.gather(
                *(post(session, gateway, chat(stream=True), headers=bearer("sk-alice")) for _ in range(8))
            )
            assert Counter(answer.status for answer in answers) == {200: 3, 429: 5}
            await asyncio.sleep(0.2)
        # A client that leaves gives its place back.
        for _ in range(3):
            task = asyncio.create_task(post(session, gateway, chat(stream=True), headers=bearer("sk-alice")))
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.sleep(0.3)
        assert (await post(session, gateway, headers=bearer("sk-alice"))).status == 200


async def test_requests_pass_while_the_agent_is_down(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with limited(replicas[0], {"requestsPerMinute": 1}) as gateway:
        assert (await post(session, gateway, headers=bearer("sk-alice"))).status == 200
        assert (await post(session, gateway, headers=bearer("sk-alice"))).status == 429
        await gateway.stop_agent()
        answers = await asyncio.gather(*(post(session, gateway, headers=bearer("sk-alice")) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}


async def test_two_gateways_count_together(session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    spec = {"auth": AUTH, "limits": [{"requestsPerMinute": 100, "tokensPerMinute": 100_000}]}
    keys = tuple(key_entry(f"team-{number}", f"sk-{number}") for number in range(6))
    clients = [PeerClients(address, lambda: b"secret") for address in addresses]
    gateways = [GatewayProcess(spec, peers) for peers in clients]
    servers = [PeerServer(gateway.service.decide, lambda: (b"secret",)) for gateway in gateways]
    for address, server, peers in zip(addresses, servers, clients, strict=True):
        await server.start("127.0.0.1", int(address.rpartition(":")[2]))
        peers.set_agents(addresses)
    for gateway in gateways:
        gateway.set(server_state("tiny", *replicas), keys=keys)
    async with gateways[0], gateways[1]:
        assert {clients[0].owner(key.id) for key in keys} == {None, addresses[1]}
        for number in range(6):
            # Two thirds of the requests go to one of the gateways.
            answers = await asyncio.gather(
                *(
                    post(session, gateways[0 if index % 3 else 1], headers=bearer(f"sk-{number}"))
                    for index in range(180)
                )
            )
            assert Counter(answer.status for answer in answers) == {200: 100, 429: 80}
        # Without the other agent, each uses its share.
        await servers[0].stop()
        clients[1].close()
    for peers in clients:
        peers.close()
    for server in servers:
        await server.stop()


async def test_a_stranger_cannot_count(replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess({"limits": [{"requestsPerMinute": 5}]})
    server = PeerServer(gateway.service.decide, lambda: (b"secret",))
    port = await server.start("127.0.0.1", 0)
    stranger = PeerClients("127.0.0.1:1", lambda: b"guess")
    from vllm_operator.gateway.limits.service import LimitCall

    try:
        decision = await asyncio.wait_for(stranger.ask(f"127.0.0.1:{port}", LimitCall("start", "a", "m", "r")), 2)
    except (OSError, TimeoutError):
        decision = None
    assert decision is None
    stranger.close()
    await server.stop()


@pytest.mark.parametrize(
    "fields",
    [
        b'"stream":true',
        b'"stream":"true"',
        b'"stream":1,"stream_options":null,"metadata":{"include_usage":true}',
        b'"stream":true,"stream_options":{"include_usage":true,"include_usage":false}',
        b'"stream":true,"stream_options":{"x":{"include_usage":true}}',
        b'"stream":true,"stream_options":{"incl\\u0075de_usage":false}',
        b'"stream":false,"stream":true',
    ],
)
async def test_no_spelling_of_a_stream_hides_its_tokens(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], fields: bytes
) -> None:
    async with limited(replicas[0], {"tokensPerMinute": 1000}) as gateway:
        body = b'{"model":"tiny","messages":[],' + fields + b"}"
        assert (await post(session, gateway, body, headers=bearer("sk-alice"))).status == 200
        # The stand-in parses as vLLM does: the last of equal keys counts.
        assert replicas[0].requests[-1][2]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
async def test_a_body_that_vllm_reads_in_another_encoding_is_refused(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], encoding: str
) -> None:
    async with limited(replicas[0], {"tokensPerMinute": 1000}) as gateway:
        body = '{"model":"tiny","messages":[]}'.encode(encoding)
        answer = await post(session, gateway, body, headers=bearer("sk-alice"))
        assert answer.status == 400
        assert "no JSON object in UTF-8" in answer.message
        assert not replicas[0].requests
