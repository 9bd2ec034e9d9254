"""Readings of a server's load, and the task that adapts the limit."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tests.helpers.fake_vllm_server import hang, status
from tests.unit.client.batch.fake_engine import FakeEngineServer, until
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.adaptive import AdaptiveConcurrency
from vllm_operator.client.batch.asynchronous import ConcurrentBatch
from vllm_operator.client.batch.flow import Flow
from vllm_operator.client.batch.monitor import read_load, read_loads, watch_load
from vllm_operator.client.batch.run import BatchOptions, BatchRun
from vllm_operator.client.config import CircuitBreakerConfig, ClientConfig, RetryPolicy


async def test_load_of_each_endpoint_is_read(engine: FakeEngineServer) -> None:
    async with FakeEngineServer() as other, AsyncVLLMClient(ClientConfig(base_url=(engine.url, other.url))) as client:
        engine.running = engine.in_flight = 3
        other.in_flight = 2

        loads = await read_loads(client)

        assert loads is not None
        assert {url: (load.running, load.waiting) for url, load in loads.items()} == {
            engine.url: (3, 0),
            other.url: (0, 2),
        }


async def test_load_is_unknown_when_one_endpoint_shows_none(engine: FakeEngineServer) -> None:
    async with FakeEngineServer() as other, AsyncVLLMClient(ClientConfig(base_url=(engine.url, other.url))) as client:
        other.shows_metrics = False

        assert await read_loads(client) is None


async def test_metrics_that_are_no_vllms_are_no_load(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Welcome</html>")

    for answer in (page, status(500), status(401)):
        engine.answers["/metrics"] = answer
        assert await read_load(client, engine.url) is None
    assert await read_load(client, "http://127.0.0.1:1") is None


async def test_metrics_that_hang_are_no_load(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/metrics"] = hang

    async with asyncio.timeout(30):
        assert await read_load(client, engine.url) is None


async def test_metrics_that_cannot_be_read_are_read_less_and_less_often(
    engine: FakeEngineServer, client: AsyncVLLMClient
) -> None:
    engine.shows_metrics = False
    run = BatchRun(client.config, BatchOptions(AdaptiveConcurrency(start=2, window=0.02)))
    flow = Flow(lambda: run.limit, ordered=False)
    flow.in_flight = 2
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    watch = asyncio.create_task(watch_load(client, run, flow, changed))

    def answer_some() -> bool:
        run.meter.completed += run.limit
        flow.in_flight = run.limit
        return changes >= 4

    await until(answer_some)
    watch.cancel()

    assert run.limit > 2
    # Each window has four samples.
    assert len(engine.bodies("/metrics")) <= 6


async def test_attempts_that_the_client_repeats_lower_the_limit(engine: FakeEngineServer) -> None:
    """A server that refuses every other attempt is overloaded, although the client's retries hide it."""
    requests = 0

    async def refuse_some(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        if requests % 2:
            return await status(503)(request)
        return await engine._usual(request, await request.json())

    engine.answers["/v1/chat/completions"] = refuse_some
    config = ClientConfig(
        base_url=engine.url,
        model="tiny",
        retries=RetryPolicy(max_attempts=10, base_delay=0.01, budget_burst=10_000),
        circuit_breaker=CircuitBreakerConfig(enabled=False),
    )
    run = BatchRun(config, BatchOptions(AdaptiveConcurrency(start=32, minimum=2, window=0.05)))
    async with AsyncVLLMClient(config) as client:
        async for result in ConcurrentBatch(client, run).results(f"q{n}" for n in range(200)):
            assert result.ok

    assert run.limit < 32


async def test_limit_stays_within_the_connections_of_the_client(engine: FakeEngineServer) -> None:
    config = ClientConfig.model_validate({"base_url": engine.url, "limits": {"max_connections": 5}})

    assert BatchRun(config, BatchOptions(AdaptiveConcurrency(start=20))).limit == 5
    assert BatchRun(config, BatchOptions(64)).limit == 5
