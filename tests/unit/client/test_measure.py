"""Measurements of a stand-in whose engine has a known capacity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.helpers.fake_vllm_server import status
from tests.unit.client.batch.fake_engine import FakeEngineServer, until
from vllm_operator.client import measure
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import run_batch
from vllm_operator.client.charts import queue_depth_chart, throughput_chart
from vllm_operator.client.config import ClientConfig, RetryPolicy
from vllm_operator.client.errors import InvalidRequest
from vllm_operator.client.measure import measure_throughput, sample_queue


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngineServer]:
    async with FakeEngineServer(capacity=8, seconds=0.04) as running:
        yield running


@pytest.fixture
async def client(engine: FakeEngineServer) -> AsyncIterator[AsyncVLLMClient]:
    config = ClientConfig(base_url=engine.url, model="tiny", retries=RetryPolicy(max_attempts=1))
    async with AsyncVLLMClient(config) as running:
        yield running


async def test_throughput_is_measured_for_each_number_of_requests_in_flight(
    engine: FakeEngineServer, client: AsyncVLLMClient
) -> None:
    points = await measure_throughput(client, [f"q{n}" for n in range(48)], (1, 8, 32))

    assert [point.concurrency for point in points] == [1, 8, 32]
    assert all(p.requests_per_second > 0 for p in points)
    assert all(p.tokens_per_second == pytest.approx(2 * p.requests_per_second) for p in points)
    assert throughput_chart(points).terminal()


async def test_error_of_all_requests_is_raised(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = status(400)

    with pytest.raises(InvalidRequest):
        await measure_throughput(client, ["a", "b"], [2])


@pytest.mark.parametrize(("requests", "numbers"), [([], [1]), (["a"], [])])
async def test_measurement_of_nothing_is_refused(
    client: AsyncVLLMClient, requests: list[str], numbers: list[int]
) -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        await measure_throughput(client, requests, numbers)


async def test_queue_is_sampled_while_requests_run(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.seconds = 3600.0
    async with sample_queue(client, 0.02) as samples:
        batch = asyncio.create_task(run_batch(client, [f"q{n}" for n in range(100)], 20))
        await until(lambda: bool(samples) and (samples[-1].running, samples[-1].waiting) == (8, 12))
        batch.cancel()
        await asyncio.gather(batch, return_exceptions=True)

    assert [sample.seconds for sample in samples] == sorted(sample.seconds for sample in samples)
    assert queue_depth_chart(samples).terminal()


async def test_sampling_leaves_no_task(client: AsyncVLLMClient) -> None:
    async with sample_queue(client, 0.01) as samples:
        await until(lambda: len(samples) > 2)

    assert not [task for task in map(repr, asyncio.all_tasks()) if "coro=<_read()" in task]


async def test_queue_that_cannot_be_read_has_no_samples(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.shows_metrics = False
    async with sample_queue(client, 0.01) as samples:
        await until(lambda: len(engine.bodies("/metrics")) > 2)

    assert samples == []
    with pytest.raises(ValueError, match="samples is empty"):
        queue_depth_chart(samples)


async def test_long_measurement_keeps_every_second_sample(
    client: AsyncVLLMClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "MAX_SAMPLES", 10)
    most = 0

    async with sample_queue(client, 0.001) as samples:

        def seconds() -> bool:
            nonlocal most
            most = max(most, len(samples))
            return bool(samples) and samples[-1].seconds > 0.2

        await until(seconds)

    assert most <= 11
    assert len(samples) > 4


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
async def test_interval_that_makes_no_sense_is_refused(client: AsyncVLLMClient, interval: float) -> None:
    with pytest.raises(ValueError, match=r"^interval: "):
        async with sample_queue(client, interval):
            pass
