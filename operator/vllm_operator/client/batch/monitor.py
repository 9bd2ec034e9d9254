"""Adapt the number of requests in flight while a batch runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.adaptive import ConcurrencyController
from vllm_operator.client.batch.flow import Flow
from vllm_operator.client.batch.meter import Loads, LoadSample, WindowMeter
from vllm_operator.client.batch.run import BatchRun
from vllm_operator.client.engine_load import EngineLoad, parse_engine_load
from vllm_operator.client.errors import VLLMClientError
from vllm_operator.client.transport import HttpRequest

SAMPLES_PER_WINDOW = 4
READ_TIMEOUT = 2.0
"""Seconds until a reading of `/metrics` counts as failed."""
MAX_SKIPPED_SAMPLES = 64
"""Samples without a reading after `/metrics` could not be read: twice as many after each failure, up to this number."""

log = logging.getLogger(__name__)


async def watch_load(client: AsyncVLLMClient, run: BatchRun, flow: Flow, raised: Callable[[], None]) -> None:
    """Set the limit of a run again and again, until it is cancelled. `raised` is called after each change."""
    assert run.controller is not None
    with client._executor.observers.including(run.meter):
        await _adapt(client, run, run.controller, flow, raised)


async def _adapt(
    client: AsyncVLLMClient, run: BatchRun, controller: ConcurrencyController, flow: Flow, raised: Callable[[], None]
) -> None:
    """Take samples, and set the limit after each window."""
    settings = controller.settings
    loop = asyncio.get_running_loop()
    meter = WindowMeter(settings.window, run.limit)
    skipped, skips = 0, 1
    while True:
        await asyncio.sleep(settings.window / SAMPLES_PER_WINDOW)
        loads = None
        skipped += 1
        if settings.use_server_metrics and skipped >= skips:
            loads = await read_loads(client)
            skipped, skips = 0, min(MAX_SKIPPED_SAMPLES, skips * 2) if loads is None else 1
        counts = run.meter
        sample = LoadSample(
            loop.time(), counts.completed, counts.tokens, counts.refusals, flow.in_flight >= run.limit, loads
        )
        window = meter.add(sample)
        if window is None:
            continue
        decision = controller.observe(window)
        log.debug("%d requests in flight: %s", decision.limit, decision.reason)
        meter.restart(run.limit)
        raised()


async def read_loads(client: AsyncVLLMClient) -> Loads | None:
    """Return the load of each endpoint, or None when one of them shows none."""
    urls = client.config.base_urls
    loads = await asyncio.gather(*(read_load(client, url) for url in urls))
    found = {url: load for url, load in zip(urls, loads, strict=True) if load is not None}
    return found if len(found) == len(urls) else None


async def read_load(client: AsyncVLLMClient, url: str) -> EngineLoad | None:
    """Return the load that `/metrics` of one endpoint shows, or None when it shows none."""
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            response = await client._transport_now().send(url, HttpRequest("GET", "/metrics"))
            if response.status != 200:
                response.close()
                return None
            return parse_engine_load(await response.read())
    except (VLLMClientError, TimeoutError):
        return None
