"""Requests for a server that sleeps, at the real Envoy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.gateway.requests import CHAT, bearer, chat, post
from tests.helpers.fake_vllm_server import FakeVLLMServer


async def test_sixty_requests_wait_for_a_sleeping_server_and_all_are_served(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny"), server_state("other", replicas[2]))
    async with gateway:
        bodies = [
            chat(f"{number}" + "x" * (200_000 if number % 3 == 0 else 10), stream=number % 2 == 0)
            for number in range(60)
        ]
        tasks = [asyncio.create_task(post(session, gateway, body)) for body in bodies]
        left = asyncio.create_task(post(session, gateway))
        await asyncio.sleep(1.5)
        assert gateway.holder.held == {"tiny": 61}
        assert set(gateway.held_servers) == {"tiny"}
        left.cancel()
        assert (await post(session, gateway, chat(model="other"))).status == 200
        await asyncio.sleep(0.3)
        assert gateway.holder.held == {"tiny": 60}
        started = time.monotonic()
        gateway.set(server_state("tiny", replicas[0]), server_state("other", replicas[2]))
        answers = await asyncio.gather(*tasks)
        assert Counter(answer.status for answer in answers) == {200: 60}
        assert time.monotonic() - started < 10
        assert len(replicas[0].requests) == 60
        assert gateway.holder.held == {}


async def test_a_request_that_waits_too_long_is_refused_once(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 1}})
    gateway.set(server_state("tiny"))
    async with gateway:
        started = time.monotonic()
        answer = await post(session, gateway)
        assert answer.status == 503
        assert time.monotonic() - started < 8
        assert answer.headers["retry-after"] == "30"
        assert "no replica of tiny became ready within 1 s" in answer.message


async def test_holding_is_bounded_by_number_and_bytes(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 2, "maxRequests": 5, "maxBytes": 1_048_576}})
    gateway.set(server_state("tiny"))
    async with gateway:
        tasks = [asyncio.create_task(post(session, gateway)) for _ in range(9)]
        await asyncio.sleep(0.7)
        assert gateway.holder.held == {"tiny": 5}
        refused = [task.result() for task in tasks if task.done()]
        assert [answer.status for answer in refused] == [429] * 4
        assert refused[0].headers["retry-after"] == "10"
        await asyncio.gather(*tasks)
        assert (await post(session, gateway, chat("x" * 1_100_000))).status == 429


async def test_without_holding_a_request_is_refused_at_once(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 0}})
    gateway.set(server_state("tiny"))
    async with gateway:
        started = time.monotonic()
        answer = await post(session, gateway)
        assert answer.status == 503
        assert answer.json["error"]["code"] == 503
        assert time.monotonic() - started < 5


async def test_a_held_request_ends_with_its_server(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny"), server_state("other", replicas[0]))
    async with gateway:
        task = asyncio.create_task(post(session, gateway))
        await asyncio.sleep(0.5)
        gateway.set(server_state("other", replicas[0]))
        answer = await asyncio.wait_for(task, 10)
        assert answer.status == 503


async def test_a_held_stream_gets_comments_when_its_client_asks(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"auth": {"secrets": [{"name": "keys"}]}, "limits": [{"tokensPerMinute": 1000}]})
    gateway.set(server_state("tiny", api_key="sk-of-vllm"), keys=(key_entry("alice", "sk-alice"),))
    asks = {**bearer("sk-alice"), "x-vllm-hold-comments": "1"}
    async with gateway:
        body = chat("x" * 300_000, stream=True)
        streams = [asyncio.create_task(post(session, gateway, body, headers=asks)) for _ in range(20)]
        plain = asyncio.create_task(post(session, gateway, chat(), headers=asks))
        quiet = asyncio.create_task(post(session, gateway, chat(stream=True), headers=bearer("sk-alice")))
        async with session.post(gateway.url + CHAT, json=body, headers=asks) as first:
            # The line is open before any replica is there.
            assert first.status == 200
            assert first.content_type == "text/event-stream"
            assert (await first.content.readline()).startswith(b": ")
            await asyncio.sleep(1.2)
            assert gateway.holder.held == {"tiny": 23}
            gateway.set(server_state("tiny", replicas[0], api_key="sk-of-vllm"))
            text = await first.text()
        answers = [await task for task in streams]
        for answer in (text, *(answer.text for answer in answers)):
            assert "data: [DONE]" in answer
            assert "Hello" in answer
        assert all(answer.text.startswith(": ") for answer in answers)
        assert (await plain).json["choices"]
        assert (await quiet).text.startswith("data: ")
        assert gateway.holder.held == {}
        # Each was counted once, with its tokens, and the replica saw one request of each with the key of vLLM.
        assert gateway.holder.total == {"tiny": 23}
        assert len(replicas[0].requests) == 23
        assert {headers["Authorization"] for _, headers, _ in replicas[0].requests} == {"Bearer sk-of-vllm"}
        assert not any("x-vllm-hold-comments" in headers for _, headers, _ in replicas[0].requests)
        left = int((await post(session, gateway, headers=bearer("sk-alice"))).headers["x-ratelimit-remaining-tokens"])
        assert left <= 1000 - 23 * 7


async def test_a_held_stream_with_comments_that_waits_too_long_ends_with_an_error(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 3}})
    gateway.set(server_state("tiny"))
    async with gateway:
        started = time.monotonic()
        answer = await post(session, gateway, chat(stream=True), headers={"x-vllm-hold-comments": "1"})
        assert answer.status == 200
        assert 2.5 < time.monotonic() - started < 8
        assert answer.text.count(": the request waits") >= 2
        assert "no replica of tiny became ready within 3 s" in answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
        # Asked for at the longest: no comment is due, and the status is the true one.
        answer = await post(session, gateway, chat(stream=True), headers={"x-vllm-hold-comments": "soon"})
        assert answer.status == 503


async def test_a_changed_listener_ends_no_stream_within_the_drain_time(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    replicas[0].word_seconds, replicas[0].words = 0.4, ("word",) * 6
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 30}})
    gateway.set(server_state("tiny"))
    asks = {"x-vllm-hold-comments": "1"}
    async with gateway:
        held = asyncio.create_task(post(session, gateway, chat(stream=True), headers=asks))
        await asyncio.sleep(1.5)
        # Both listeners are replaced, while the stream is held and while it is answered.
        gateway.set(maxBodyBytes=1_000_000)
        await asyncio.sleep(0.5)
        gateway.set(server_state("tiny", replicas[0]))
        await asyncio.sleep(1)
        gateway.set(maxBodyBytes=2_000_000)
        answer = await held
        assert answer.status == 200
        assert answer.text.count("word") == 6
        assert "[DONE]" in answer.text
        rejected = await gateway.admin("/stats?filter=update_rejected")
        assert {line.split(":")[1].strip() for line in rejected.splitlines() if line} == {"0"}
        async with aiohttp.ClientSession() as other:
            assert (await post(other, gateway)).status == 200


async def test_clients_of_commented_streams_that_leave_are_not_counted(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny"))
    async with gateway:
        asks = {"x-vllm-hold-comments": "1"}
        tasks = [asyncio.create_task(post(session, gateway, chat(stream=True), headers=asks)) for _ in range(5)]
        await asyncio.sleep(1.7)
        assert gateway.holder.held == {"tiny": 5}
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.7)
        assert gateway.holder.held == {}
        gateway.set(server_state("tiny", replicas[0]))
        await asyncio.sleep(0.7)
        assert not replicas[0].requests


async def test_bodies_without_a_length_are_counted_in_bytes(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"holding": {"timeoutSeconds": 2, "maxBytes": 1_048_576}})
    gateway.set(server_state("tiny"))

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"model":"tiny","x":"'
        for _ in range(12):
            yield b"x" * 100_000
        yield b'"}'

    async with gateway, session.post(gateway.url + CHAT, data=parts()) as answer:
        assert answer.status == 429
