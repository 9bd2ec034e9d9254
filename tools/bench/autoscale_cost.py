"""Measure what the samples of 500 replicas cost the operator, asked for as autoscalers ask."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from tools.bench.probes import stand_in
from tools.bench.stand_in_replicas import address
from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.controller.fast_path import FastPath
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.key import Key
from vllm_operator.metrics_api.readings import ServerLoad
from vllm_operator.probing.http import new_session
from vllm_operator.probing.load_sampler import LoadSampler, SampleTarget

REPLICAS = int(os.environ.get("AUTOSCALE_REPLICAS", "500"))
PER_SERVER = int(os.environ.get("AUTOSCALE_PER_SERVER", "10"))
SYNC_SECONDS = 15.0
SECONDS = float(os.environ.get("AUTOSCALE_SECONDS", "45"))
MAX_AGE_SECONDS = 1.0


def _groups(port: int) -> list[list[SampleTarget]]:
    """Return the replicas of each server."""
    targets = [SampleTarget(str(index), f"http://{address(index)}:{port}", "bench") for index in range(REPLICAS)]
    return [targets[first : first + PER_SERVER] for first in range(0, REPLICAS, PER_SERVER)]


async def cost_of_replicas() -> dict[str, Any]:
    """Return the share of one core, in per cent, and the age of the values, while each autoscaler syncs every 15 s.

    Each sync asks for two metrics, the second of which finds the samples of the first.
    """
    async with stand_in() as replicas, new_session() as session:
        sampler = LoadSampler(lambda: session)
        servers = _groups(replicas.port)
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


class _Servers:
    """Servers with `fastPath`, and what a look reads of each."""

    def __init__(self, sampler: LoadSampler, targets: list[list[SampleTarget]]) -> None:
        self._sampler = sampler
        self.targets = {Key("bench", f"s{index}"): group for index, group in enumerate(targets)}

    async def load(self, key: Key, max_age: float = MAX_AGE_SECONDS) -> ServerLoad:
        """Return the load of all replicas of one server."""
        group = self.targets[key]
        return ServerLoad(tuple((await self._sampler.sample(group, max_age)).values()), len(group))

    async def peek(self, key: Key, turn: int, count: int, max_age: float) -> ServerLoad:
        """Return the load of a few replicas of one server."""
        group = self.targets[key]
        begin = turn * count % len(group)
        samples = await self._sampler.sample((group[begin:] + group[:begin])[:count], max_age)
        return ServerLoad(tuple(samples.values()), len(samples))


async def cost_of_fast_path() -> dict[str, Any]:
    """Return the share of one core, in per cent, that the looks of the fast path take, and how often each comes."""
    async with stand_in() as replicas, new_session() as session:
        sampler = LoadSampler(lambda: session)
        servers = _Servers(sampler, _groups(replicas.port))
        path = FastPath(servers, _scale_nothing, lambda: True, lambda key: None)
        scaling = Autoscaling.model_validate({"maxReplicas": 100, "targetRunningRequests": 100_000, "fastPath": True})
        snapshot = Snapshot(deployment={"spec": {"replicas": PER_SERVER}})
        for key in servers.targets:
            path.observe(key, ServerSummary(key.namespace, str(key), str(key), scaling=scaling), snapshot)
        task = asyncio.create_task(path.run())
        await asyncio.sleep(2)
        began, cpu, before = time.monotonic(), time.process_time(), sampler.requests
        await asyncio.sleep(SECONDS)
        passed, used, requests = time.monotonic() - began, time.process_time() - cpu, sampler.requests - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sampler.close()
    return {
        "replicas": REPLICAS,
        "servers": len(servers.targets),
        "core_percent": round(100 * used / passed, 2),
        "requests_per_second": round(requests / passed, 1),
        "cpu_ms_per_request": round(1000 * used / max(requests, 1), 3),
    }


async def _scale_nothing(key: Key) -> None:
    raise AssertionError(f"{key} has no load")
