"""Compare the gateway with nginx and with direct access: `make bench-gateway`.

A Go program (`tools/localcluster/programs/gateway-load`) is the load and the stand-ins of vLLM, all on loopback. Direct
access, nginx as `render --target compose` writes it, the gateway with nothing set, and the gateway with everything on
take the same load in turns, GATEWAY_ROUNDS times (3). All programs share the CPUs, so the largest rate is a ratio and
no capacity. CPU and memory of the gateway are those of Envoy, and where it counts for limits, of the agent, which is
this process.

GATEWAY_SECONDS is the length of one measurement (4). GATEWAY_PARTS=requests,streams,prefixes,limits chooses.
GATEWAY_JSON=FILE writes the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from tests.gateway.bench_parts import (
    Subject,
    cpu_seconds,
    envoy_rss,
    keys,
    limits_of_two_gateways,
    mock,
    offer,
    prefix_hits,
    state,
)
from tests.gateway.gateway_process import GatewayProcess
from tests.helpers.real_nginx import PROGRAM, nginx

ROUNDS = int(os.environ.get("GATEWAY_ROUNDS", "3"))
SECONDS = float(os.environ.get("GATEWAY_SECONDS", "4"))
PARTS = os.environ.get("GATEWAY_PARTS", "requests,streams,prefixes,limits").split(",")
RATE = 200
"""Requests a second of the modest rate."""
WIDTH = 16
"""Requests at once of the largest rate."""
STREAMS, STREAM_TOKENS, STEP_MS = 200, 60, 50
"""Streams of 20 tokens a second, as the tokens of large models come."""
MANY_STREAMS = 1000
REPLICAS = 4
FULL: dict[str, Any] = {
    "auth": {"secrets": [{"name": "keys"}]},
    "limits": [{"requestsPerMinute": 100_000_000, "tokensPerMinute": 1_000_000_000, "concurrent": 100_000}],
    "audit": {"path": "/dev/null"},
}
EVERYTHING = "gateway, everything on"
MANY = "gateway, everything on, 1,000 keys, 100 models"


@asynccontextmanager
async def subjects(folder: Path, ports: list[int]) -> AsyncIterator[list[Subject]]:
    """Start everything that stands in front of the stand-ins."""
    async with AsyncExitStack() as stack:
        lean, full, many = GatewayProcess({"routing": "LeastRequest"}), GatewayProcess(FULL), GatewayProcess(FULL)
        lean.set(state("tiny", ports))
        full.set(state("tiny", ports), keys=keys(3))
        many.set(state("tiny", ports), *(state(f"model-{number}", ports) for number in range(99)), keys=keys(1000))
        for gateway in (lean, full, many):
            await stack.enter_async_context(gateway)
        found = [
            Subject("direct", ",".join(f"http://127.0.0.1:{port}" for port in ports)),
            Subject("gateway, nothing set", lean.url, (lean.pid,)),
            Subject(EVERYTHING, full.url, (full.pid, os.getpid())),
            Subject(MANY, many.url, (many.pid, os.getpid())),
        ]
        if PROGRAM is not None:
            url = stack.enter_context(nginx(folder, [f"127.0.0.1:{port}" for port in ports]))
            found.insert(1, Subject("nginx", url, tuple(_nginx_pids(folder))))
        yield found


def _nginx_pids(folder: Path) -> list[int]:
    """Return nginx's main process and its workers."""
    main = int((folder / "nginx.pid").read_text())
    children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return [main, *(int(child) for child in children)]


async def requests(subject: Subject, figures: dict[str, list[float]]) -> None:
    """Measure latency at a modest rate, and the largest rates."""
    modest = await offer(subject.url, rate=RATE, seconds=f"{SECONDS}s")
    figures["p50 ms"].append(1000 * modest["p50"])
    figures["p99 ms"].append(1000 * modest["p99"])
    figures["failed"].append(modest["requests"] - modest["served"])
    for name, size in (("1 KB", 1000), ("100 KB", 100_000)):
        before = cpu_seconds(subject.pids)
        largest = await offer(subject.url, width=WIDTH, size=size, seconds=f"{SECONDS}s")
        figures[f"{name}: requests/s"].append(largest["served"] / largest["seconds"])
        figures[f"{name}: CPU s for 1,000"].append(1000 * (cpu_seconds(subject.pids) - before) / largest["served"])
        figures["failed"].append(largest["requests"] - largest["served"])


async def streams(subject: Subject, figures: dict[str, list[float]]) -> None:
    """Measure CPU for a streamed chunk, and memory of many streams."""
    before = cpu_seconds(subject.pids)
    steady = await offer(
        subject.url, stream=True, width=STREAMS, tokens=STREAM_TOKENS, seconds=f"{STREAM_TOKENS * STEP_MS / 1000}s"
    )
    chunks = steady["served"] * STREAM_TOKENS
    figures["CPU µs for a chunk"].append(1e6 * (cpu_seconds(subject.pids) - before) / chunks)
    figures["failed"].append(steady["requests"] - steady["served"])
    idle = envoy_rss(subject.pids)
    many = asyncio.create_task(offer(subject.url, stream=True, width=MANY_STREAMS, tokens=80, seconds="1s"))
    await asyncio.sleep(2.5)
    figures["MB at 1,000 streams"].append(envoy_rss(subject.pids))
    figures["kB for a stream"].append(1000 * (envoy_rss(subject.pids) - idle) / MANY_STREAMS)
    steady = await many
    figures["failed"].append(steady["requests"] - steady["served"])


async def compare() -> dict[str, dict[str, float]]:
    """Measure all subjects in turns; return the medians, and the sum of the failed requests."""
    figures: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        async with (
            mock(REPLICAS, step=f"{STEP_MS}ms") as (ports, _),
            subjects(Path(folder), ports) as found,
        ):
            for number in range(ROUNDS):
                for subject in found:
                    own = figures.setdefault(subject.name, defaultdict(list))
                    if "requests" in PARTS:
                        await requests(subject, own)
                    # Memory hardly differs between rounds, and streams take long.
                    if "streams" in PARTS and number == 0:
                        await streams(subject, own)
    return {
        name: {
            key: sum(values) if key == "failed" else round(statistics.median(values), 4) for key, values in row.items()
        }
        for name, row in figures.items()
    }


def print_table(results: dict[str, dict[str, float]]) -> None:
    """Print the figures as a table of Markdown; latencies also as what is added to direct access."""
    columns = list(dict.fromkeys(key for row in results.values() for key in row))
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name, row in results.items():
        cells = []
        for key in columns:
            text = f"{row.get(key, 0):.3g}" if row.get(key, 0) < 100 else f"{row[key]:.0f}"
            base = results.get("direct", {}).get(key)
            if key.startswith("p") and base is not None and name != "direct":
                text += f" (+{row[key] - base:.2f})"
            cells.append(text)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(flush=True)


async def main() -> None:
    """Run what is chosen, and print each table."""
    figures: dict[str, Any] = {}
    if {"requests", "streams"} & set(PARTS):
        figures["requests"] = await compare()
        print_table(figures["requests"])
    if "prefixes" in PARTS:
        figures["prefixes"] = await prefix_hits()
        print_table(figures["prefixes"])
    if "limits" in PARTS:
        figures["limits"] = await limits_of_two_gateways()
        print_table({"two gateways": figures["limits"]})
    figures["load of the machine"], figures["CPUs"] = os.getloadavg()[0], os.cpu_count()
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    if path := os.environ.get("GATEWAY_JSON"):
        Path(path).write_text(json.dumps(figures, indent=1))  # noqa: ASYNC240


if __name__ == "__main__":
    # The agent runs on uvloop, too.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
