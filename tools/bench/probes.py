"""Measure the prober on thousands of replicas: `make bench-probes`.

Most replicas are quick, some slow, some silent, and half of them vanish at once. They are a separate process, the
stand-in (`stand_in_replicas`). The measured process is this one: the prober, with every module of the operator loaded.
CPU and memory come from the operating system; the stand-in counts probes and the time between them. It simulates a cut
network: connections stay open, and no answer comes back.

PROBE_REPLICAS, PROBE_INTERVAL and PROBE_SECONDS (of each measurement) choose the size. PROBE_KEEP_ALIVE=5 lets
replicas close idle connections after five seconds, vLLM's default. BENCH_JSON=FILE writes the figures too.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

import vllm_operator.kopf_adapter.run  # noqa: F401  # all that the operator loads, for its memory
from tools.bench.stand_in_replicas import MODEL, address
from vllm_operator.kube.key import Key
from vllm_operator.probing.http import ReplicaClient, new_session
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import ProbeTarget

REPLICAS = int(os.environ.get("PROBE_REPLICAS", "2000"))
INTERVAL = float(os.environ.get("PROBE_INTERVAL", "5"))
SECONDS = float(os.environ.get("PROBE_SECONDS", "60"))
KEEP_ALIVE = float(os.environ.get("PROBE_KEEP_ALIVE", "0"))
PER_SERVER = 10
CUT_LIMIT_SECONDS = 300.0
FIRST_SECONDS = 45.0
"""Seconds until a new prober has requested one token of each idle replica."""


class StandIn:
    """The process that stands in for the replicas."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def order(self, **order: Any) -> dict[str, Any]:
        """Give one order and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    """Start a stand-in that ends with the block."""
    command = (sys.executable, "-m", "tools.bench.stand_in_replicas", str(KEEP_ALIVE))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        yield StandIn(process, int(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


class Bench:
    """The measurements, in the order in which they are taken."""

    def __init__(self, replicas: StandIn) -> None:
        self.stand_in = replicas
        self.changes = 0
        self.prober = ProbeManager(self._changed)
        self.figures: dict[str, Any] = {
            "replicas": REPLICAS,
            "interval_seconds": INTERVAL,
            "replicas_are": "a stand-in",
        }

    async def run(self) -> dict[str, Any]:
        """All of them."""
        self.figures["ratio_to_httpx"] = await ratio_to_httpx(self.stand_in.port)
        running = asyncio.create_task(self.prober.run())
        self.figures["first_answers_seconds"] = await self._first_answers()
        await asyncio.sleep(FIRST_SECONDS)
        self.figures["all_quick"] = await self._measure(range(REPLICAS))
        tenth = REPLICAS // 10
        await self.stand_in.order(mood="slow", first=0, count=tenth)
        await self.stand_in.order(mood="silent", first=tenth, count=tenth)
        await asyncio.sleep(30)
        others = range(2 * tenth, REPLICAS)
        self.figures["a_tenth_slow_a_tenth_silent"] = await self._measure(others)
        await self.stand_in.order(mood="quick", first=0, count=2 * tenth)
        await self._until({"Serving"}, range(REPLICAS))
        self.figures["half_cut_off"] = await self._cut()
        self.prober.stop()
        await running
        return self.figures

    async def _first_answers(self) -> float:
        begun = time.monotonic()
        for first in range(0, REPLICAS, PER_SERVER):
            key = server_of(first)
            members = range(first, min(first + PER_SERVER, REPLICAS))
            self.prober.sync(key, [target(index, self.stand_in.port) for index in members])
        await self._until({"Serving"}, range(REPLICAS))
        return round(time.monotonic() - begun, 1)

    async def _measure(self, watched: range) -> dict[str, Any]:
        """Measure for `SECONDS` the cost, and how evenly the chosen replicas are probed."""
        await self._report(watched)
        begun, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(SECONDS)
        used, passed = time.process_time() - cpu, time.monotonic() - begun
        memory = resident_mib()
        report = await self._report(watched)
        return {
            "core_percent": round(100 * used / passed, 1),
            "resident_mib": memory,
            "probes_per_second": round(report.pop("probes") / passed, 1),
            "cpu_ms_per_request": round(1000 * used / report.pop("requests"), 3),
            **report,
        }

    async def _cut(self) -> dict[str, Any]:
        """Make half of the replicas silent at once, then let them answer again."""
        gone, others = range(REPLICAS // 2), range(REPLICAS // 2, REPLICAS)
        await self._report(others)
        self.changes = 0
        await self.stand_in.order(mood="silent", first=gone.start, count=len(gone))
        begun = time.monotonic()
        await self._until({"Timeout", "Unreachable"}, gone)
        seen = time.monotonic() - begun
        await asyncio.sleep(max(0.0, SECONDS - seen))
        measured = await self._report(others)
        memory, reasons = resident_mib(), self._reasons(others)
        await self.stand_in.order(mood="quick", first=gone.start, count=len(gone))
        begun = time.monotonic()
        await self._until({"Serving"}, gone)
        return {
            "seconds_until_all_are_known": round(seen, 1),
            "seconds_until_all_serve_again": round(time.monotonic() - begun, 1),
            "others": dict(reasons),
            "others_late_ms_p99": measured["late_ms_p99"],
            "others_late_ms_max": measured["late_ms_max"],
            "resident_mib": memory,
        }

    async def _report(self, watched: range) -> dict[str, Any]:
        return await self.stand_in.order(report=INTERVAL, first=watched.start, count=len(watched))

    async def _until(self, wanted: set[str], watched: Iterable[int]) -> None:
        chosen = list(watched)
        deadline = time.monotonic() + CUT_LIMIT_SECONDS
        while not set(self._reasons(chosen)) <= wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"after {CUT_LIMIT_SECONDS:g} s: {self._reasons(chosen)}")
            await asyncio.sleep(0.25)

    def _reasons(self, watched: Iterable[int]) -> Counter[str]:
        known = {key: self.prober.health(key) for key in {server_of(index) for index in watched}}
        return Counter(known[server_of(index)][f"pod-{index}"].reason for index in watched)

    def _changed(self, key: Key) -> None:
        self.changes += 1


def server_of(index: int) -> Key:
    """Return the server that a replica belongs to."""
    return Key("bench", f"server-{index // PER_SERVER}")


def target(index: int, port: int) -> ProbeTarget:
    """Return a replica of the stand-in as a probe target."""
    return ProbeTarget(
        key=server_of(index),
        pod=f"pod-{index}",
        uid=f"uid-{index}",
        base_url=f"http://{address(index)}:{port}",
        served_names=(MODEL,),
        interval=INTERVAL,
        synthetic_completion="WhenSuspicious",  # the default: their counters are sampled every 10 s
    )


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


async def ratio_to_httpx(port: int, requests: int = 2000) -> dict[str, float]:
    """CPU of one request by httpx over httpx-aiohttp, and by the prober's own client, in turns."""
    url = f"http://{address(0)}:{port}"
    transport = AiohttpTransport(client=aiohttp.ClientSession)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as old, new_session() as new:
        replica = ReplicaClient(new, url, timeout=10)
        spent = {"httpx": 0.0, "own_client": 0.0}
        for turn in range(8):
            begun = time.process_time()
            for _ in range(requests // 4):
                if turn % 2:
                    await replica.get("/v1/models", 2**20)
                else:
                    (await old.get(f"{url}/v1/models")).raise_for_status()
            spent["own_client" if turn % 2 else "httpx"] += time.process_time() - begun
    milliseconds = {f"{name}_cpu_ms": round(1000 * seconds / requests, 3) for name, seconds in spent.items()}
    return {**milliseconds, "ratio": round(spent["httpx"] / spent["own_client"], 2)}


async def bench() -> dict[str, Any]:
    """Start the stand-in and measure."""
    async with stand_in() as replicas:
        return await Bench(replicas).run()


if __name__ == "__main__":
    result = asyncio.run(bench())
    print(json.dumps(result, indent=2))
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps(result, indent=2))
