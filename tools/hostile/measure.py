"""Measurements of one phase: the good tenant's reconciles and stalled engine, and the operator's own health."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson

from tools.bench.loop import FastClient
from tools.harness.operator_process import OperatorProcess
from tools.hostile.numbers import percentile
from tools.hostile.tenant import REFUSED, Tenant
from vllm_operator.api.names import API_VERSION

PATHS = ("/healthz", "/metrics")
ASK_SECONDS = 0.25
ANSWER_SECONDS = 120.0
"""Longest wait for an answer of the operator itself."""
RUNAWAY_MIB = 2048.0
"""Memory at which the operator is ended, so that the machine survives."""
RECONCILE_SECONDS = 60.0
"""Longest wait for one reconcile; a later one counts as this long."""
PATCH_SECONDS = 0.3
MIB = 2**20


class Watchman:
    """Ask the operator for /healthz and /metrics from threads, read its memory, and start it again when it died.

    Attributes:
        longest: path -> longest seconds until an answer with 200.
        deaths: number of times that the operator ended by itself.
        peak: most resident memory of all its processes, in MiB.
    """

    def __init__(self, operator: OperatorProcess) -> None:
        self._operator = operator
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self.longest = dict.fromkeys(PATHS, 0.0)
        self.deaths, self.peak = 0, 0.0
        self._first = resident_mib(operator)
        self._cpu, self._begun = operator.cpu_seconds(), time.monotonic()

    def __enter__(self) -> Watchman:
        works = [threading.Thread(target=self._ask, args=(path,), daemon=True) for path in PATHS]
        self._threads = [*works, threading.Thread(target=self._guard, daemon=True)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(5)

    def figures(self) -> dict[str, Any]:
        """Return the figures so far."""
        now, passed = resident_mib(self._operator), time.monotonic() - self._begun
        cpu = self._operator.cpu_seconds() - (0.0 if self.deaths else self._cpu)
        return {
            "rss_mib": round(now, 1),
            "rss_growth_mib": round(now - self._first, 1),
            "rss_peak_mib": round(max(self.peak, self._peak_now()), 1),
            "cpu_percent": round(100 * cpu / passed, 1),
            "healthz_longest_seconds": round(self.longest["/healthz"], 2),
            "metrics_longest_seconds": round(self.longest["/metrics"], 2),
            "restarts": self.deaths,
        }

    def _peak_now(self) -> float:
        """Return the most memory of the running process so far, in MiB; 0 for one that has just ended."""
        with suppress(OSError, StopIteration):
            return self._operator.peak_memory() / MIB
        return 0.0

    def _ask(self, path: str) -> None:
        url, answered = f"http://127.0.0.1:{self._operator.port}{path}", time.monotonic()
        while not self._stopped.wait(ASK_SECONDS):
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
                    answer.read()
            except (OSError, http.client.HTTPException):
                begun = answered
            else:
                answered = time.monotonic()
            self.longest[path] = max(self.longest[path], time.monotonic() - begun)

    def _guard(self) -> None:
        while not self._stopped.wait(0.5):
            if not self._operator.alive():
                self.deaths += 1
                self._operator.start()
                continue
            with suppress(OSError, StopIteration):
                now = resident_mib(self._operator)
                self.peak = max(self.peak, now)
                if now > RUNAWAY_MIB:
                    self._operator.kill()


def resident_mib(operator: OperatorProcess) -> float:
    """Return the resident memory of the operator now."""
    return operator.resident_megabytes() * 1e6 / MIB


class Reconciles:
    """Time from the patch of a spec to the Deployment that shows it, for the servers of the good tenant in turns.

    Attributes:
        seconds: of each reconcile.
        answers: seconds until the API server answered the patch alone, which shows the load of the machine.
        missed: number of reconciles that took too long to wait for.
    """

    def __init__(self, client: FastClient, tenant: Tenant, names: Sequence[str], first: int) -> None:
        self._client, self._tenant, self._names = client, tenant, names
        self._shown: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._values = itertools.count(first)
        self.seconds: list[float] = []
        self.answers: list[float] = []
        self.missed = 0

    async def run(self, until: float) -> None:
        """Patch until this moment of the monotonic clock."""
        watching = asyncio.create_task(self._watch())
        try:
            for name in itertools.cycle(self._names):
                if time.monotonic() >= until:
                    break
                await self._one(name)
                await asyncio.sleep(PATCH_SECONDS)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def figures(self) -> dict[str, Any]:
        """Return median and 99th percentile, in milliseconds."""
        return {
            "reconciles": len(self.seconds),
            **spread("reconcile", self.seconds),
            **spread("patch", self.answers),
            "reconciles_missed": self.missed,
        }

    async def _one(self, name: str) -> None:
        value, begun = next(self._values), time.monotonic()
        patch = {"spec": {"rollout": {"maxSurge": value}}}
        try:
            await self._client.merge(self._tenant.path(name), orjson.dumps(patch))
            self.answers.append(time.monotonic() - begun)
            async with asyncio.timeout(RECONCILE_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._shown.get(name) == value)
        except REFUSED:
            self.missed += 1
            self.seconds.append(max(RECONCILE_SECONDS, time.monotonic() - begun))
        else:
            self.seconds.append(time.monotonic() - begun)

    async def _watch(self) -> None:
        path = f"/apis/apps/v1/namespaces/{self._tenant.namespace}/deployments"
        while True:
            with suppress(*REFUSED):
                listed = await self._client.get(path)
                for item in listed["items"]:
                    await self._show(item)
                async for event in self._client.watch(path, listed["metadata"]["resourceVersion"]):
                    if event["type"] == "ERROR":
                        break
                    await self._show(event["object"])
            await asyncio.sleep(0.05)

    async def _show(self, deployment: dict[str, Any]) -> None:
        if "spec" not in deployment:
            return
        surge = deployment["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxSurge")
        async with self._changed:
            self._shown[deployment["metadata"]["name"]] = surge
            self._changed.notify_all()


def spread(name: str, seconds: Sequence[float]) -> dict[str, float | None]:
    """Return median and 99th percentile in milliseconds, under names that begin with `name`."""
    found = {f"{name}_{key}_ms": percentile(seconds, share) for key, share in (("p50", 0.5), ("p99", 0.99))}
    return {key: None if value is None else round(1000 * value, 1) for key, value in found.items()}


async def phases_of(client: FastClient, tenant: Tenant, name: str) -> list[str]:
    """Return the phases of the replicas of a server, as its status shows them."""
    found = await client.get(tenant.path(name))
    assert found["apiVersion"] == API_VERSION
    return [entry["phase"] for entry in (found.get("status") or {}).get("replicaStatuses") or ()]


async def seconds_until(
    client: FastClient, tenant: Tenant, name: str, phases: Sequence[str], limit: float
) -> float | None:
    """Wait until the status shows exactly these phases of replicas; None when it does not within `limit` seconds."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        with suppress(*REFUSED):
            if sorted(await phases_of(client, tenant, name)) == sorted(phases):
                return round(time.monotonic() - begun, 1)
        await asyncio.sleep(0.25)
    return None
