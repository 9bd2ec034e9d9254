"""Requests for a server that sleeps, at the real Envoy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import aiohttp

from tests.gateway.gateway_process import GatewayProcess, server_state
from tests.gateway.requests import chat, post
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
