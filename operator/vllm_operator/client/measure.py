"""Measure a server: throughput for several numbers of requests in flight, and the queue while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.api import stream_batch
from vllm_operator.client.batch.monitor import read_loads
from vllm_operator.client.batch.requests import BatchItem
from vllm_operator.client.charts import ThroughputPoint
from vllm_operator.client.engine_load import QueueSample

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
MAX_SAMPLES = 100_000
"""Samples that are kept. Beyond them every second one is dropped, and the interval doubles."""


async def measure_throughput(
    client: AsyncVLLMClient,
    requests: Iterable[BatchItem],
    concurrencies: Sequence[int] = CONCURRENCIES,
) -> list[ThroughputPoint]:
    """Send the same requests once for each number of requests in flight, and return the throughput of each.

    Requests that fail do not count. Prompts that were sent before may be in the server's prefix cache: warm it up with
    one run, or start vLLM with `--no-enable-prefix-caching`.

    Raises:
        ValueError: there are no requests, or no numbers.
        Exception: the error of the first request, when none of a run was answered.
    """
    items = list(requests)
    if not items or not concurrencies:
        raise ValueError("requests and concurrencies must each have at least one entry")
    return [await _point(client, items, concurrency) for concurrency in concurrencies]


async def _point(client: AsyncVLLMClient, items: list[BatchItem], concurrency: int) -> ThroughputPoint:
    """Send all requests with a number of them in flight."""
    clock = asyncio.get_running_loop().time
    started = clock()
    answered = tokens = 0
    has_usage = True
    first_error: Exception | None = None
    async with aclosing(stream_batch(client, items, concurrency, retry_for=0)) as results:
        async for result in results:
            if result.error is not None:
                first_error = first_error or result.error
                continue
            answered += 1
            usage = result.response.usage
            has_usage = has_usage and usage is not None
            tokens += usage.completion_tokens if usage is not None else 0
    seconds = clock() - started
    if not answered and first_error is not None:
        raise first_error
    return ThroughputPoint(concurrency, answered / seconds, tokens / seconds if has_usage else None)


@asynccontextmanager
async def sample_queue(client: AsyncVLLMClient, interval: float = 0.5) -> AsyncGenerator[list[QueueSample]]:
    """Read `/metrics` of all endpoints while the block runs, into the list that it returns.

    Where they cannot be read, no sample is added: an empty list means that nothing is known.

    Args:
        client: the client whose endpoints are read.
        interval: seconds between two readings.
    """
    if not 0 < interval < float("inf"):
        raise ValueError(f"interval: {interval!r} is no number of seconds above 0")
    samples: list[QueueSample] = []
    reading = asyncio.create_task(_read(client, samples, interval))
    try:
        yield samples
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _read(client: AsyncVLLMClient, samples: list[QueueSample], interval: float) -> None:
    """Add a sample again and again, until it is cancelled."""
    clock = asyncio.get_running_loop().time
    started = clock()
    while True:
        loads = await read_loads(client)
        if loads is not None:
            running = sum(load.running for load in loads.values())
            waiting = sum(load.waiting for load in loads.values())
            samples.append(QueueSample(clock() - started, running, waiting))
        if len(samples) > MAX_SAMPLES:
            del samples[::2]
            interval *= 2
        await asyncio.sleep(interval)
