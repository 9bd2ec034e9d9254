"""Measure the operator with many servers at once: `make bench-scale`.

The same run measures a bare write loop without any operator, and a naive operator. Repairs of one server are compared
with a minimal repair loop, which only writes (`minimal_repair.py`). The control plane has no nodes: pods stay Pending,
and nothing simulates them. Calls are counted in the API server's audit log, CPU comes from the operating system.
Progress goes to stderr; a thousand servers take a quarter of an hour.

BENCH_SERVERS=N      number of servers (1000)
BENCH_SIZES=N,N,...  converge with each of these first, and print the exponents of time and memory
BENCH_REST=SECONDS   time at rest (60; the goal is for 600)
BENCH_QUIET=SECONDS  longest wait for an operator that goes on writing (600)
BENCH_PROFILE=1      divide the operator's CPU time among its parts, by py-spy; costs some itself
BENCH_JSON=FILE      the figures as JSON
BENCH_OPERATOR=...   another operator's command line: tools/bench/subject.py
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson

from tools.bench import bare, spent
from tools.bench import subject as subjects
from tools.bench.breakdown import Profile
from tools.bench.growth import exponent
from tools.bench.latency import latencies, repairs
from tools.bench.loop import FastClient
from tools.bench.pacing import each, until, until_silent
from tools.bench.subject import Subject
from tools.bench.table import table
from tools.harness import control_plane as planes
from tools.harness.audit import by_target
from tools.harness.crds import install_monitoring_crds
from vllm_operator.api.crd import crd

SERVERS = int(os.environ.get("BENCH_SERVERS", "1000"))
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "").split(",") if size]
REST_SECONDS = float(os.environ.get("BENCH_REST", "60"))
PROFILED = bool(os.environ.get("BENCH_PROFILE"))
HOT_CHANGES = 100
QUIET_SECONDS = 50.0
"""Longer than a status may wait for the controllers (`status/settling.py`)."""
LONGEST_QUIET_SECONDS = float(os.environ.get("BENCH_QUIET", "600"))
"""Some operators never stop to write."""
CALM_SECONDS, CALM_WRITES = 10.0, 4
"""Most writes of all clients in `CALM_SECONDS` at which the controllers count as done."""
NEVER_ENDING = frozenset({"leases", "events"})
"""Resources that are written without end: a leader renews a Lease, a pending claim gets an Event every 15 seconds."""


class Bench:
    """The measurements, in the order in which they are taken."""

    def __init__(self, plane: planes.Plane, client: FastClient, subject: Subject) -> None:
        self.plane, self.client, self.subject = plane, client, subject
        self.operator, self.audit = subject.process, plane.audit
        self.figures: dict[str, Any] = {
            "operator": subject.name,
            "servers": SERVERS,
            "children_per_server": len(subject.children),
            "pods": "pending",
        }
        self._started = time.monotonic()

    async def run(self) -> dict[str, Any]:
        """Run all measurements; for another operator, those that do not need this one."""
        template = await self._recorded_children() if self.subject.is_ours else None
        if SIZES:
            await self._sizes()
        before = await self._bare_loop("bare-1", template) if template else 0.0
        await self._begin()
        self.figures |= await self._converge("scale", SERVERS)
        if template:
            # No other client may write, so the existing objects do not change.
            await self._calm()
            self.operator.stop()
            after = await self._bare_loop("bare-2", template)
            self.figures |= {"bare_loop_seconds": [round(before, 1), round(after, 1)]}
            self.figures["ratio_to_bare_loop"] = round(self.figures["converge_seconds"] / ((before + after) / 2), 2)
            await self._begin()
        await self._rest()
        if self.subject.is_ours:
            self._say("latencies at scale")
            self.figures["latency_ms_at_scale"] = await latencies(self.client, self.subject, "latency-at-scale")
            await self._hot_server()
            await self._change_all()
        await self._restart()
        if self.subject.is_ours:
            # The naive operator would handle every server that exists.
            for namespace in ("scale", "sample", "latency-alone", "latency-at-scale"):
                await self._clean(namespace)
            await self._naive()
        return self.figures

    def _say(self, what: str) -> None:
        print(f"[{time.monotonic() - self._started:6.0f} s] {what}", file=sys.stderr, flush=True)

    async def _begin(self) -> None:
        self.operator.start()
        self.operator.wait_ready()
        await asyncio.sleep(1)

    async def _sizes(self) -> None:
        """Converge with every size, each with an operator that has just started and caches no other server."""
        runs = {}
        for size in SIZES:
            await self._begin()
            runs[size] = await self._converge(f"size-{size}", size)
            self.operator.stop()
            await self._clean(f"size-{size}")
        for row in ("converge_seconds", "operator_cpu_seconds", "operator_grown_mib"):
            self.figures[f"exponent_{row}"] = exponent(list(runs), [max(run[row], 0.1) for run in runs.values()])
        self.figures["sizes"] = runs

    async def _recorded_children(self) -> bare.Template:
        """Children of one server as the operator applies them: what the bare loop writes too."""
        await self.client.namespace("sample")
        await self._begin()
        self._say("latencies of one server")
        self.figures["latency_ms_alone"] = await latencies(self.client, self.subject, "latency-alone")
        await self._create("sample", "sample")
        await until(lambda: self._settled(self.subject, "sample", 1), 30)
        self.operator.stop()
        await self._minimal_repair("latency-alone")
        return await bare.recorded(self.client, self.subject, "sample")

    async def _minimal_repair(self, namespace: str) -> None:
        """Measure the same repairs without any operator: the time that the API server itself needs."""
        self._say("latencies of the minimal repair loop")
        repair = subjects.minimal_repair(self.plane.kubeconfig, self.plane.folder / "minimal-repair.log", namespace)
        repair.start()
        try:
            repair.wait_ready()
            self.figures["latency_ms_minimal_repair"] = await repairs(self.client, self.subject, namespace)
        finally:
            repair.kill()

    async def _bare_loop(self, namespace: str, template: bare.Template) -> float:
        self._say(f"bare loop in {namespace}")
        before = spent.cpu_seconds(self.plane.folder)
        seconds = await bare.write(self.client, self.subject, namespace, SERVERS, template)
        self.figures[f"cpu_seconds_{namespace}"] = spent.difference(before, spent.cpu_seconds(self.plane.folder))
        self._say(f"bare loop: {seconds:.1f} s")
        await self._clean(namespace)
        return seconds

    async def _naive(self) -> None:
        """Measure the same servers with the simplest operator, which handles creation only."""
        naive = subjects.naive(self.plane.kubeconfig, self.plane.folder / "naive.log", self.subject)
        naive.process.start()
        try:
            naive.process.wait_ready()
            found = await self._converge("naive", SERVERS, naive)
        finally:
            naive.process.kill()
        self.figures["naive_loop"] = found

    async def _converge(self, namespace: str, count: int, subject: Subject | None = None) -> dict[str, Any]:
        subject = subject or self.subject
        operator = subject.process
        self._say(f"{count} servers by {subject.name}")
        await self.client.namespace(namespace)
        idle = operator.resident_megabytes()
        assert operator.process is not None
        profile = Profile(operator.process.pid, self.plane.folder) if PROFILED else None
        with profile or nullcontext():
            everyone = spent.cpu_seconds(self.plane.folder)
            mark, cpu, started = self.audit.mark(), operator.cpu_seconds(), time.monotonic()
            await each(range(count), lambda index: self._create(namespace, f"s{index:05d}"))
            created = time.monotonic() - started
            await until(lambda: self._settled(subject, namespace, count), 900)
            seconds = time.monotonic() - started
            everyone = spent.difference(everyone, spent.cpu_seconds(self.plane.folder))
            await asyncio.sleep(5)
        self._say(f"{count} servers: {seconds:.1f} s")
        used = operator.cpu_seconds() - cpu
        requests = subject.requests(self.audit, mark)
        writes = [request for request in requests if request.is_write]
        return {
            "creation_seconds": round(created, 1),
            "converge_seconds": round(seconds, 1),
            "operator_cpu_seconds": round(used, 2),
            "operator_cpu_ms_per_server": round(1000 * used / count, 1),
            "cpu_seconds_of_others": everyone,
            "operator_rss_mib": round(operator.resident_megabytes() * 1e6 / 2**20),
            "operator_grown_mib": round((operator.resident_megabytes() - idle) * 1e6 / 2**20, 1),
            "writes_per_server": round(len(writes) / count, 2),
            "writes_by_target": by_target(writes),
            "reads_per_server": round(len([one for one in requests if one.verb == "get"]) / count, 2),
            **({"profile_percent": profile.shares} if profile else {}),
        }

    async def _create(self, namespace: str, name: str) -> None:
        await self.client.post(self.subject.path(namespace), self.subject.resource(namespace, name))

    async def _rest(self) -> None:
        await self._quiet()
        self._say(f"at rest for {REST_SECONDS:g} s")
        mark, cpu = self.audit.mark(), self.operator.cpu_seconds()
        await asyncio.sleep(REST_SECONDS)
        requests = self.subject.requests(self.audit, mark)
        writes = [request for request in requests if request.is_write]
        self.figures["rest"] = {
            "seconds": REST_SECONDS,
            "writes": len(writes),
            "writes_by_target": by_target(writes),
            "lists": len([request for request in requests if request.verb == "list"]),
            "calls": dict(Counter(request.verb for request in requests)),
            "core_percent": round(100 * (self.operator.cpu_seconds() - cpu) / REST_SECONDS, 2),
        }

    async def _hot_server(self) -> None:
        """Change one server many times in a second: count the writes, and wait until the last change is applied."""
        self._say("one server changed many times")
        path, mark, started = f"{self.subject.path('scale')}/s00000", self.audit.mark(), time.monotonic()

        # One after another: many at once on one object only conflict inside the API server, until it gives up.
        for number in range(1, HOT_CHANGES + 1):
            await self.client.merge(path, orjson.dumps({"spec": {"engine": {"maxModelLen": 1000 + number}}}))
        changed = time.monotonic() - started
        wanted = f"{1000 + HOT_CHANGES}"

        async def is_right() -> bool:
            live = await self.client.get(f"{self.subject.path('scale', 'deployments')}/s00000")
            return any(wanted in item for item in live["spec"]["template"]["spec"]["containers"][0]["args"])

        await until(is_right, 60, pause=0.02)
        seconds = time.monotonic() - started
        await asyncio.sleep(10)
        writes = Counter(write.resource for write in self.subject.writes(self.audit, mark, "scale"))
        self.figures["hot_server"] = {
            "changes": HOT_CHANGES,
            "changes_seconds": round(changed, 2),
            "right_after_seconds": round(seconds, 2),
            "writes": dict(writes),
        }

    async def _change_all(self) -> None:
        self._say("all changed at once")
        mark, started = self.audit.mark(), time.monotonic()
        path = self.subject.path("scale")
        patch = b'{"spec":{"image":"vllm/vllm-openai:v0.31.0"}}'
        await each(range(SERVERS), lambda index: self.client.merge(f"{path}/s{index:05d}", patch))

        async def all_changed() -> bool:
            items = (await self.client.get("/apis/apps/v1/namespaces/scale/deployments"))["items"]
            images = {item["spec"]["template"]["spec"]["containers"][0]["image"] for item in items}
            return images == {"vllm/vllm-openai:v0.31.0"}

        await until(all_changed, 600)
        seconds = time.monotonic() - started
        await self._quiet()
        writes = by_target(self.subject.writes(self.audit, mark, "scale"))
        self.figures["change_all"] = {"seconds": round(seconds, 1), "writes": writes}

    async def _quiet(self) -> None:
        """Wait until nothing is written any more: the controllers take their time over many changes."""

        def written(mark: int) -> int:
            return len([write for write in self.subject.writes(self.audit, mark) if write.resource != "leases"])

        await until_silent(self.audit.mark, written, QUIET_SECONDS, LONGEST_QUIET_SECONDS)

    async def _restart(self) -> None:
        """Start it again; one that leads by a lease may have to wait for it, and only then begin to write."""
        self._say("restart")
        self._end()
        mark, started = self.audit.mark(), time.monotonic()
        self.operator.start()
        self.operator.wait_ready(60)
        seconds = time.monotonic() - started
        await self._quiet()
        writes = self.subject.writes(self.audit, mark)
        self.figures["restart"] = {
            # Another operator does not report when it is ready.
            **({"ready_seconds": round(seconds, 1)} if self.subject.is_ours else {}),
            "watched_seconds": round(time.monotonic() - started),
            "writes": len(writes),
            "writes_by_target": by_target(writes),
        }
        self._end()

    def _end(self) -> None:
        """Stop the operator; kill another one, which may take long to end, or never do."""
        if self.subject.is_ours:
            self.operator.stop()
        else:
            self.operator.kill()

    async def _settled(self, subject: Subject, namespace: str, count: int) -> bool:
        """Return whether all children and statuses exist. Count first: listing all of them costs much."""
        for plural in subject.children:
            page = await self.client.get(f"{subject.path(namespace, plural)}?limit=1", metadata_only=True)
            if len(page["items"] or ()) + page["metadata"].get("remainingItemCount", 0) < count:
                return False
        items = (await self.client.get(subject.path(namespace)))["items"]
        return len(items) >= count and all(item.get("status") for item in items)

    async def _clean(self, namespace: str) -> None:
        """Remove all that was made, so that the controller manager is done with it."""
        await self.client.delete(self.subject.path(namespace))
        for plural in self.subject.children:
            await self.client.delete(self.subject.path(namespace, plural))

        async def is_empty() -> bool:
            return not (await self.client.get(f"/api/v1/namespaces/{namespace}/pods?limit=1"))["items"]

        await until(is_empty, 600)
        await self._calm()

    async def _calm(self) -> None:
        """Wait until the cluster's own controllers are done, too."""

        def written(mark: int) -> int:
            return len([write for write in self.audit.writes(mark, "") if write.resource not in NEVER_ENDING])

        await until_silent(self.audit.mark, written, CALM_SECONDS, LONGEST_QUIET_SECONDS, CALM_WRITES)


async def measure(plane: planes.Plane) -> dict[str, Any]:
    """Prepare the cluster and run the bench."""
    kube, log = plane.kube(), plane.folder / "operator.log"
    kube.apply(crd(), "--server-side")
    install_monitoring_crds(kube)
    await asyncio.sleep(2)
    async with FastClient(plane.kubeconfig) as client:
        if os.environ.get("BENCH_OPERATOR"):
            subject = await subjects.other(kube, client, plane.kubeconfig, log)
        else:
            subject = subjects.ours(plane.kubeconfig, log)
        try:
            return await Bench(plane, client, subject).run()
        finally:
            subject.process.kill()


def main() -> int:
    """Run and print."""
    if reason := planes.missing():
        print(reason, file=sys.stderr)
        return 1
    with planes.control_plane() as plane:
        figures = asyncio.run(measure(plane))
    print(table(figures))
    for name, value in figures.items():
        print(f"{name:32} {value}")
    if target := os.environ.get("BENCH_JSON"):
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
