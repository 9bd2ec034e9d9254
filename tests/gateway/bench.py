"""Compare the gateway with nginx and with direct access: `make bench-gateway`.

Stand-ins of vLLM answer on loopback. Direct access, nginx as `render --target compose` writes it, the gateway with
nothing set, and the gateway with keys, limits, audit and prefixes take the same load in turns, GATEWAY_ROUNDS times
(3). The load comes from this process, so the largest rate is a ratio and no capacity; the CPU of the proxy is that of
its process and, for the gateway, of the agent.

GATEWAY_SECONDS is the length of one measurement (5). GATEWAY_JSON=FILE writes the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.helpers.fake_vllm_server import FakeVLLMServer
from tests.helpers.real_nginx import PROGRAM, nginx

ROUNDS = int(os.environ.get("GATEWAY_ROUNDS", "3"))
SECONDS = float(os.environ.get("GATEWAY_SECONDS", "5"))
RATE = 100.0
"""Requests a second of the modest rate."""
WIDTH = 32
"""Requests at once of the largest rate."""
REPLICAS = 4
TICKS = os.sysconf("SC_CLK_TCK")
KEY = "sk-bench-0001"
FULL: dict[str, Any] = {
    "auth": {"secrets": [{"name": "keys"}]},
    "limits": [{"requestsPerMinute": 100_000_000, "tokensPerMinute": 1_000_000_000, "concurrent": 100_000}],
    "audit": {"path": "/dev/null"},
}


@dataclass(frozen=True)
class Subject:
    """What takes the load.

    Attributes:
        name: its name.
        url: its base URL.
        pids: processes whose CPU and memory count.
    """

    name: str
    url: str
    pids: tuple[int, ...] = ()


@dataclass
class Figures:
    """The measurements of one subject, one value for each round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    small_rate: list[float] = field(default_factory=list)
    small_cpu: list[float] = field(default_factory=list)
    large_rate: list[float] = field(default_factory=list)
    large_cpu: list[float] = field(default_factory=list)
    failed: int = 0

    def medians(self) -> dict[str, float]:
        """Return the median of each measurement."""
        values = {name: value for name, value in vars(self).items() if isinstance(value, list) and value}
        return {name: round(statistics.median(value), 4) for name, value in values.items()} | {"failed": self.failed}


@asynccontextmanager
async def subjects(folder: Path) -> AsyncIterator[list[Subject]]:
    """Start the replicas and everything in front of them."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(FakeVLLMServer("tiny")) for _ in range(REPLICAS)]
        lean, full = GatewayProcess({"routing": "LeastRequest"}), GatewayProcess(FULL)
        keys = (key_entry("bench", KEY), *(key_entry(f"key-{number}", f"sk-{number:08}") for number in range(999)))
        more = [server_state(f"model-{number}", replicas[0]) for number in range(99)]
        lean.set(server_state("tiny", *replicas))
        full.set(server_state("tiny", *replicas), *more, keys=keys)
        for gateway in (lean, full):
            await stack.enter_async_context(gateway)
        found = [
            Subject("direct", replicas[0].url),
            Subject("gateway, nothing set", lean.url, (lean.pid,)),
            Subject("gateway, 1,000 keys, 100 models, limits, audit", full.url, (full.pid,)),
        ]
        if PROGRAM is not None:
            addresses = [replica.url.removeprefix("http://") for replica in replicas]
            url = stack.enter_context(nginx(folder, addresses))
            found.insert(1, Subject("nginx", url, tuple(_nginx_pids(folder))))
        yield found


def _nginx_pids(folder: Path) -> list[int]:
    """Return nginx's main process and its workers."""
    main = int((folder / "nginx.pid").read_text())
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return [main, *(int(child) for child in children)]


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """Return the CPU time of processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def body_of(size: int) -> bytes:
    """Return a request of about this many bytes."""
    messages = [{"role": "user", "content": "x" * size}]
    return json.dumps({"model": "tiny", "messages": messages, "max_tokens": 1}).encode()


class Load:
    """Requests to one subject."""

    def __init__(self, session: aiohttp.ClientSession, subject: Subject, figures: Figures) -> None:
        self._session = session
        self._url = f"{subject.url}/v1/chat/completions"
        self._subject = subject
        self._figures = figures
        self._headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    async def request(self, body: bytes) -> float:
        """Send one request; return its seconds."""
        started = time.perf_counter()
        try:
            async with self._session.post(self._url, data=body, headers=self._headers) as response:
                await response.read()
                self._figures.failed += response.status != 200
        except aiohttp.ClientError:
            self._figures.failed += 1
        return time.perf_counter() - started

    async def modest(self) -> None:
        """Measure the latency at a modest rate, with one request of 1 KB after the other in its time slot."""
        body, tasks, started = body_of(1000), [], time.perf_counter()
        for number in range(int(RATE * SECONDS)):
            await asyncio.sleep(max(0.0, started + number / RATE - time.perf_counter()))
            tasks.append(asyncio.create_task(self.request(body)))
        seconds = sorted(await asyncio.gather(*tasks))
        self._figures.p50.append(1000 * seconds[len(seconds) // 2])
        self._figures.p99.append(1000 * seconds[int(len(seconds) * 0.99)])

    async def largest(self, size: int) -> tuple[float, float]:
        """Return requests a second, and seconds of CPU of the proxy for 1,000 of them, without a pause."""
        body, count = body_of(size), 0
        started, before = time.perf_counter(), cpu_seconds(self._subject.pids)

        async def client() -> None:
            nonlocal count
            while time.perf_counter() - started < SECONDS:
                await self.request(body)
                count += 1

        await asyncio.gather(*(client() for _ in range(WIDTH)))
        seconds = time.perf_counter() - started
        return count / seconds, 1000 * (cpu_seconds(self._subject.pids) - before) / max(1, count)


async def measure(subject: Subject, figures: Figures) -> None:
    """Measure one subject once."""
    connector = aiohttp.TCPConnector(limit=WIDTH)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = Load(session, subject, figures)
        await load.request(body_of(10))
        await load.modest()
        rate, cpu = await load.largest(1000)
        figures.small_rate.append(rate)
        figures.small_cpu.append(cpu)
        rate, cpu = await load.largest(100_000)
        figures.large_rate.append(rate)
        figures.large_cpu.append(cpu)


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Print the medians; latencies as what is added to direct access."""
    direct = results["direct"]
    print("| | p50 / p99 ms at 100/s | 1 KB: requests/s, CPU s for 1,000 | 100 KB | failed |")
    print("|---|---|---|---|---|")
    for name, row in results.items():
        added = "" if name == "direct" else "+"
        base = dict.fromkeys(direct, 0.0) if name == "direct" else direct
        print(
            f"| {name} | {added}{row['p50'] - base['p50']:.2f} / {added}{row['p99'] - base['p99']:.2f} "
            f"| {row['small_rate']:.0f}, {row['small_cpu']:.3f} | {row['large_rate']:.0f}, {row['large_cpu']:.3f} "
            f"| {row['failed']:.0f} |"
        )


async def main() -> None:
    """Measure everything in turns, and print the medians."""
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        async with subjects(Path(folder)) as found:
            figures = {subject.name: Figures() for subject in found}
            for _ in range(ROUNDS):
                for subject in found:
                    await measure(subject, figures[subject.name])
    results = {name: one.medians() for name, one in figures.items()}
    print_table(results)
    load = os.getloadavg()[0]
    print(
        f"\nload of the machine at the end: {load:.1f} on {os.cpu_count()} CPUs, which all programs of this run share"
    )
    if path := os.environ.get("GATEWAY_JSON"):
        figures_of_run = {"results": results, "load": load, "seconds": SECONDS, "rounds": ROUNDS}
        Path(path).write_text(json.dumps(figures_of_run, indent=1))  # noqa: ASYNC240


if __name__ == "__main__":
    asyncio.run(main())
