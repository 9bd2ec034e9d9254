"""Measure what the samples of 500 replicas cost the operator, asked for as autoscalers ask."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from tools.bench.probes import stand_in
from tools.bench.stand_in_replicas import address
from vllm_operator.probing.http import new_session
from vllm_operator.probing.load_sampler import LoadSampler, SampleTarget

REPLICAS = int(os.environ.get("AUTOSCALE_REPLICAS", "500"))
PER_SERVER = 10
SYNC_SECONDS = 15.0
SECONDS = float(os.environ.get("AUTOSCALE_SECONDS", "45"))
MAX_AGE_SECONDS = 1.0


async def cost_of_replicas() -> dict[str, Any]:
    """Return the share of one core, in per cent, and the age of the values, while each autoscaler syncs every 15 s.

    Each sync asks for two metrics, the second of which finds the samples of the first.
    """
    async with stand_in() as replicas, new_session() as session:
        sampler = LoadSampler(lambda: session)
        servers = [
            [
                SampleTarget(str(index), f"http://{address(index)}:{replicas.port}", "bench")
                for index in range(first, min(first + PER_SERVER, REPLICAS))
            ]
            for first in range(0, REPLICAS, PER_SERVER)
        ]
        ages: list[float] = []
        lacking = 0

        async def sync(targets: list[SampleTarget], delay: float, until: float) -> None:
            nonlocal lacking
            await asyncio.sleep(delay)
            while time.monotonic() < until:
                for _ in range(2):
                    samples = await sampler.sample(targets, MAX_AGE_SECONDS)
                    now = time.monotonic()
                    ages.extend(now - sample.taken for sample in samples.values())
                    lacking += len(targets) - len(samples)
                await asyncio.sleep(SYNC_SECONDS)

        await asyncio.gather(*(sync(targets, 0, 0.0) for targets in servers))
        for targets in servers:
            await sampler.sample(targets, MAX_AGE_SECONDS)
        began, cpu, before = time.monotonic(), time.process_time(), sampler.requests
        until = began + SECONDS
        delays = [SYNC_SECONDS * place / len(servers) for place in range(len(servers))]
        await asyncio.gather(*(sync(targets, delay, until) for targets, delay in zip(servers, delays, strict=True)))
        passed, used = time.monotonic() - began, time.process_time() - cpu
        await sampler.close()
    requests = sampler.requests - before
    return {
        "replicas": REPLICAS,
        "core_percent": round(100 * used / passed, 2),
        "requests_per_second": round(requests / passed, 1),
        "cpu_ms_per_request": round(1000 * used / max(requests, 1), 3),
        "oldest_value_seconds": round(max(ages, default=0.0), 2),
        "values_lacking": lacking,
    }
