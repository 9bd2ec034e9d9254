"""The stand-ins, the load and the longer measurements of `make bench-gateway`."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.gateway.gateway_process import GatewayProcess, free_port, key_entry
from tools.localcluster import build, settings
from vllm_operator.gateway.limits.peers import PeerClients, PeerServer
from vllm_operator.gateway.snapshot import GatewayServer, KeyEntry, ReplicaEndpoint

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KEY = "sk-bench-0000"
START_SECONDS = 10
FLEET = 20
"""Replicas of the measurement of prefixes."""
BLOCKS = 5000
"""Blocks of 16 tokens in the cache of one replica: room for a tenth of all conversations."""
CONVERSATIONS: dict[str, Any] = {"users": 400, "turns": 8, "prompts": 4, "think": "1s", "tokens": 30, "stream": True}
PREFILL = "400us"
"""Time of a block that is not cached: 40,000 tokens a second."""
LIMIT, OFFERED, WINDOW = 1200, 30, 57
"""Requests a minute that are allowed, requests a second that each of two gateways is offered, and seconds of it."""


@dataclass(frozen=True)
class Subject:
    """What takes the load.

    Attributes:
        name: its name.
        url: its base URLs, separated by commas.
        pids: processes whose CPU counts; the first one, of nginx all, count for memory.
    """

    name: str
    url: str
    pids: tuple[int, ...] = ()


def program() -> str:
    """The Go program, built where the cache lacks it."""
    return str(build.tool("gateway-load", settings.folders()))


def free_ports(count: int) -> list[int]:
    """Different free ports: one at a time may be given twice."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


@asynccontextmanager
async def mock(replicas: int, **options: Any) -> AsyncIterator[tuple[list[int], int]]:
    """Start stand-ins; yield their ports, and the port of their figures."""
    control, *ports = free_ports(1 + replicas)
    command = [program(), "mock", "-ports", ",".join(map(str, ports)), "-control", str(control), *_flags(options)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await figures_of(control)
                break
            except aiohttp.ClientError:
                assert time.monotonic() < deadline, "the stand-ins do not answer"
                await asyncio.sleep(0.05)
        yield ports, control
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def figures_of(control: int) -> list[dict[str, int]]:
    """The counters of each replica."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{control}/figures") as answer:
        found: list[dict[str, int]] = await answer.json(content_type=None)
        return found


async def offer(url: str, **options: Any) -> dict[str, Any]:
    """Send a load in another process, while this one goes on as the agent; return what became of it."""
    command = [program(), "load", "-url", url, "-key", KEY, *_flags(options)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(output)
    return found


def _flags(options: dict[str, Any]) -> list[str]:
    return [f"-{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in options.items()]


def state(name: str, ports: list[int]) -> GatewayServer:
    return GatewayServer(name, (name,), tuple(sorted(ReplicaEndpoint("127.0.0.1", port) for port in ports)))


def keys(count: int) -> tuple[KeyEntry, ...]:
    return tuple(key_entry(f"key-{number:04}", f"sk-bench-{number:04}") for number in range(count))


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """The CPU time of processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def envoy_rss(pids: tuple[int, ...]) -> float:
    """Megabytes of memory of the proxies among these processes."""
    own = os.getpid()
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6 for pid in pids if pid != own)


async def prefix_hits() -> dict[str, dict[str, float]]:
    """Let 400 users talk to 20 replicas, by each way to choose one; the ideal is one cache that all share."""
    found: dict[str, dict[str, float]] = {}
    async with mock(1, blocks=10_000_000) as (ports, control):
        await offer(f"http://127.0.0.1:{ports[0]}", **CONVERSATIONS)
        [figures] = await figures_of(control)
        ideal = figures["hits"] / figures["queries"]
        found["one shared cache"] = {"hit rate %": 100 * ideal, "of the ideal %": 100.0}
    for name in ("PrefixAware", "LeastRequest", "plain Service"):
        async with mock(FLEET, blocks=BLOCKS, prefill=PREFILL, step="10ms") as (ports, control):
            if name == "plain Service":
                # kube-proxy chooses a replica at random for each connection.
                answers = await offer(",".join(f"http://127.0.0.1:{port}" for port in ports), **CONVERSATIONS)
            else:
                gateway = GatewayProcess({"routing": name})
                gateway.set(state("tiny", ports))
                async with gateway:
                    answers = await offer(gateway.url, **CONVERSATIONS)
            replicas = await figures_of(control)
        rate = sum(one["hits"] for one in replicas) / sum(one["queries"] for one in replicas)
        counts = [one["requests"] for one in replicas]
        found[name] = {
            "hit rate %": 100 * rate,
            "of the ideal %": 100 * rate / ideal,
            "busiest replica of the mean": max(counts) * len(counts) / sum(counts),
            "first token p50 ms": 1000 * answers["first p50"],
            "first token p99 ms": 1000 * answers["first p99"],
            "failed": answers["requests"] - answers["served"],
        }
    return found


async def limits_of_two_gateways() -> dict[str, float]:
    """Offer three times the limit to two gateways at once, for nearly a minute; count what passes."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    clients = [PeerClients(address, lambda: b"secret") for address in addresses]
    spec = {"auth": {"secrets": [{"name": "keys"}]}, "limits": [{"requestsPerMinute": LIMIT}]}
    gateways = [GatewayProcess(spec, peers) for peers in clients]
    servers = [PeerServer(gateway.service.decide, lambda: (b"secret",)) for gateway in gateways]
    async with mock(2) as (ports, _):
        for address, server, peers, gateway in zip(addresses, servers, clients, gateways, strict=True):
            await server.start("127.0.0.1", int(address.rpartition(":")[2]))
            peers.set_agents(addresses)
            gateway.set(state("tiny", ports), keys=keys(3))
        async with gateways[0], gateways[1]:
            answers = await asyncio.gather(
                *(offer(gateway.url, rate=OFFERED, seconds=f"{WINDOW}s") for gateway in gateways)
            )
    for peers, server in zip(clients, servers, strict=True):
        peers.close()
        await server.stop()
    served = sum(answer["served"] for answer in answers)
    return {
        "limit": LIMIT,
        "offered": sum(answer["requests"] for answer in answers),
        "served": served,
        "off by %": 100 * abs(served - LIMIT) / LIMIT,
    }
