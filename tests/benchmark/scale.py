"""`make bench-scale`: many servers at once, beside a bare write loop without any operator, in one run.

A control plane without nodes: pods stay Pending, nothing plays them. Calls are counted in the API server's audit log,
CPU comes from the operating system.

BENCH_SERVERS=N      number of servers (1000)
BENCH_SIZES=N,N,...  converge with each of these first, and tell the exponents of time and memory
BENCH_REST=SECONDS   time at rest (60; the goal speaks of 600)
BENCH_PROFILE=1      what the CPU time of the operator is made of, by py-spy; costs some itself
BENCH_JSON=FILE      the figures as JSON
BENCH_OPERATOR=...   another operator's command line: tests/benchmark/subject.py
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson

from tests.benchmark import subject as subjects
from tests.benchmark.breakdown import Profile
from tests.benchmark.growth import exponent
from tests.benchmark.loop import FastClient
from tests.benchmark.subject import Subject, server
from tests.benchmark.table import table
from tests.support import control_plane as planes
from tests.support.crds import install_monitoring_crds
from vllm_operator.api.crd import crd

SERVERS = int(os.environ.get("BENCH_SERVERS", "1000"))
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "").split(",") if size]
REST_SECONDS = float(os.environ.get("BENCH_REST", "60"))
PROFILED = bool(os.environ.get("BENCH_PROFILE"))
IN_FLIGHT = 32
SAMPLES = 20
HOT_CHANGES = 100
QUIET_SECONDS = 10.0
LONGEST_QUIET_SECONDS = 600.0
"""Some operators never stop to write."""
SERVER_PATH = "/apis/vllm-operator.dev/v1alpha1"


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]], limit: int = IN_FLIGHT) -> list[Any]:
    """Run `work` over the items, so many at once."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


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

    async def run(self) -> dict[str, Any]:
        """All measurements; of another operator those that it can be asked for."""
        template = await self._recorded_children() if self.subject.is_ours else None
        if SIZES:
            await self._sizes()
        before = await self._bare_loop("bare-1", template) if template else 0.0
        await self._begin()
        self.figures |= await self._converge("scale", SERVERS)
        if template:
            after = await self._bare_loop("bare-2", template)
            self.figures |= {"bare_loop_seconds": [round(before, 1), round(after, 1)]}
            self.figures["ratio_to_bare_loop"] = round(self.figures["converge_seconds"] / ((before + after) / 2), 2)
        await self._rest()
        if self.subject.is_ours:
            await self._latencies("at_scale")
            await self._hot_server()
            await self._change_all()
        await self._restart()
        return self.figures

    async def _begin(self) -> None:
        self.operator.start()
        self.operator.wait_ready()
        await asyncio.sleep(1)

    async def _sizes(self) -> None:
        """Converge with every size, each with an operator that has just started and knows nothing else."""
        runs = {}
        for size in SIZES:
            await self._begin()
            runs[size] = await self._converge(f"size-{size}", size)
            self.operator.stop()
            await self._clean(f"size-{size}")
        for row in ("converge_seconds", "operator_cpu_seconds", "operator_grown_mib"):
            self.figures[f"exponent_{row}"] = exponent(list(runs), [max(run[row], 0.1) for run in runs.values()])
        self.figures["sizes"] = runs

    async def _recorded_children(self) -> dict[str, dict[str, Any]]:
        """Children of one server as the operator applies them: what the bare loop writes too."""
        await self.client.namespace("sample")
        await self._begin()
        await self._latencies("alone")
        await self.client.post(self.subject.path("sample"), server("sample", "sample"))
        await self._until(lambda: self._settled("sample", 1), 30)
        self.operator.stop()
        found = {}
        for plural in self.subject.children:
            (item,) = (await self.client.get(self.subject.path("sample", plural)))["items"]
            metadata = {key: item["metadata"][key] for key in ("name", "labels", "annotations")}
            found[plural] = {"metadata": metadata, "spec": _sent_spec(plural, item["spec"])}
        live = (await self.client.get(self.subject.path("sample")))["items"][0]
        found["status"] = live["status"]
        return found

    async def _bare_loop(self, namespace: str, template: dict[str, dict[str, Any]]) -> float:
        """Create the same servers, and write the same children and one status each: the floor."""
        await self.client.namespace(namespace)
        kinds = {"deployments": "Deployment", "services": "Service", "persistentvolumeclaims": "PersistentVolumeClaim"}
        kinds |= {"podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule"}

        async def one(index: int) -> None:
            name = f"s{index:05d}"
            path = f"{SERVER_PATH}/namespaces/{namespace}/vllmservers"
            await self.client.post(path, server(namespace, name))
            for plural, root in self.subject.children.items():
                metadata = {**template[plural]["metadata"], "name": name, "namespace": namespace}
                body = {
                    "apiVersion": root.removeprefix("/apis/").removeprefix("/api/"),
                    "kind": kinds[plural],
                }
                text = orjson.dumps({**body, "metadata": metadata, "spec": template[plural]["spec"]})
                text = text.replace(
                    b'"app.kubernetes.io/instance":"sample"', b'"app.kubernetes.io/instance":"%s"' % name.encode()
                )
                text = text.replace(
                    b'"app.kubernetes.io/managed-by":"vllm-operator"', b'"app.kubernetes.io/managed-by":"bench"'
                )
                await self.client.apply(f"{self.subject.path(namespace, plural)}/{name}", text)
            await self.client.merge(f"{path}/{name}/status", orjson.dumps({"status": template["status"]}))

        started = time.monotonic()
        await each(range(SERVERS), one)
        seconds = time.monotonic() - started
        await self._clean(namespace)
        return seconds

    async def _converge(self, namespace: str, count: int) -> dict[str, Any]:
        await self.client.namespace(namespace)
        idle = self.operator.resident_megabytes()
        assert self.operator.process is not None
        profile = Profile(self.operator.process.pid, self.plane.folder) if PROFILED else None
        with profile or nullcontext():
            mark, cpu, started = self.audit.mark(), self.operator.cpu_seconds(), time.monotonic()
            await each(range(count), lambda index: self._create(namespace, f"s{index:05d}"))
            created = time.monotonic() - started
            await self._until(lambda: self._settled(namespace, count), 900)
            seconds = time.monotonic() - started
            await asyncio.sleep(5)
        used = self.operator.cpu_seconds() - cpu
        requests = self.subject.requests(self.audit, mark)
        writes = [request for request in requests if request.is_write]
        targets = Counter(f"{one.resource}{'/' + one.subresource if one.subresource else ''}" for one in writes)
        return {
            "creation_seconds": round(created, 1),
            "converge_seconds": round(seconds, 1),
            "operator_cpu_seconds": round(used, 2),
            "operator_cpu_ms_per_server": round(1000 * used / count, 1),
            "operator_rss_mib": round(self.operator.resident_megabytes() * 1e6 / 2**20),
            "operator_grown_mib": round((self.operator.resident_megabytes() - idle) * 1e6 / 2**20, 1),
            "writes_per_server": round(len(writes) / count, 2),
            "writes_by_target": dict(targets),
            "reads_per_server": round(len([one for one in requests if one.verb == "get"]) / count, 2),
            **({"profile_percent": profile.shares} if profile else {}),
        }

    async def _create(self, namespace: str, name: str) -> None:
        await self.client.post(self.subject.path(namespace), self.subject.resource(namespace, name))

    async def _rest(self) -> None:
        await self._quiet()
        mark, cpu = self.audit.mark(), self.operator.cpu_seconds()
        await asyncio.sleep(REST_SECONDS)
        requests = self.subject.requests(self.audit, mark)
        self.figures["rest"] = {
            "seconds": REST_SECONDS,
            "writes": len([request for request in requests if request.is_write]),
            "lists": len([request for request in requests if request.verb == "list"]),
            "calls": dict(Counter(request.verb for request in requests)),
            "core_percent": round(100 * (self.operator.cpu_seconds() - cpu) / REST_SECONDS, 2),
        }

    async def _hot_server(self) -> None:
        """One server changed many times in a second: what is written meanwhile, and whether the last word counts."""
        path, mark, started = f"{self.subject.path('scale')}/s00000", self.audit.mark(), time.monotonic()

        # One after another: many at once on one object only conflict inside the API server, until it gives up.
        for number in range(1, HOT_CHANGES + 1):
            await self.client.merge(path, orjson.dumps({"spec": {"engine": {"maxModelLen": 1000 + number}}}))
        changed = time.monotonic() - started
        wanted = f"{1000 + HOT_CHANGES}"

        async def is_right() -> bool:
            live = await self.client.get(f"{self.subject.path('scale', 'deployments')}/s00000")
            return any(wanted in item for item in live["spec"]["template"]["spec"]["containers"][0]["args"])

        await self._until(is_right, 60, pause=0.02)
        seconds = time.monotonic() - started
        await asyncio.sleep(10)
        writes = Counter(write.resource for write in self.subject.writes(self.audit, mark, "scale"))
        self.figures["hot_server"] = {
            "changes": HOT_CHANGES,
            "changes_seconds": round(changed, 2),
            "right_after_seconds": round(seconds, 2),
            "writes": dict(writes),
        }

    async def _latencies(self, when: str) -> None:
        """Apply to last child, a deleted child back, an edited field reverted: milliseconds."""
        namespace = f"latency-{when.replace('_', '-')}"
        await self.client.namespace(namespace)
        rows: dict[str, list[float]] = {"apply_to_last_child": [], "deleted_child_back": [], "edit_reverted": []}
        for index in range(SAMPLES):
            name = f"l{index}"
            started = time.monotonic()
            await self.client.post(f"{SERVER_PATH}/namespaces/{namespace}/vllmservers", server(namespace, name))
            await self._until(lambda name=name: self._complete(namespace, name), 20, pause=0.002)
            rows["apply_to_last_child"].append(time.monotonic() - started)
            await asyncio.sleep(0.3)
            rows["deleted_child_back"].append(await self._time_delete(namespace, name))
            rows["edit_reverted"].append(await self._time_edit(namespace, name))
        self.figures[f"latency_ms_{when}"] = {row: _spread(values) for row, values in rows.items()}

    async def _time_delete(self, namespace: str, name: str) -> float:
        path = f"/api/v1/namespaces/{namespace}/services/{name}"
        uid = (await self.client.get(path))["metadata"]["uid"]
        started = time.monotonic()
        await self.client.delete(path)

        async def is_back() -> bool:
            found = await self.client.find(path)
            return found is not None and found["metadata"]["uid"] != uid

        await self._until(is_back, 20, pause=0.002)
        return time.monotonic() - started

    async def _time_edit(self, namespace: str, name: str) -> float:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        started = time.monotonic()
        await self.client.merge(path, b'{"spec":{"progressDeadlineSeconds":77}}')

        async def is_reverted() -> bool:
            return bool((await self.client.get(path))["spec"]["progressDeadlineSeconds"] != 77)

        await self._until(is_reverted, 20, pause=0.002)
        return time.monotonic() - started

    async def _change_all(self) -> None:
        mark, started = self.audit.mark(), time.monotonic()
        path = f"{SERVER_PATH}/namespaces/scale/vllmservers"
        patch = b'{"spec":{"image":"vllm/vllm-openai:v0.31.0"}}'
        await each(range(SERVERS), lambda index: self.client.merge(f"{path}/s{index:05d}", patch))

        async def all_changed() -> bool:
            items = (await self.client.get("/apis/apps/v1/namespaces/scale/deployments"))["items"]
            images = {item["spec"]["template"]["spec"]["containers"][0]["image"] for item in items}
            return images == {"vllm/vllm-openai:v0.31.0"}

        await self._until(all_changed, 600)
        seconds = time.monotonic() - started
        await self._quiet()
        found = self.subject.writes(self.audit, mark, "scale")
        writes = Counter(f"{one.resource}{'/' + one.subresource if one.subresource else ''}" for one in found)
        self.figures["change_all"] = {"seconds": round(seconds, 1), "writes": dict(writes)}

    async def _quiet(self) -> None:
        """Wait until nothing is written any more: the controllers take their time over many changes."""
        mark, end = -1, time.monotonic() + LONGEST_QUIET_SECONDS
        while time.monotonic() < end and (mark < 0 or self.subject.writes(self.audit, mark)):
            mark = self.audit.mark()
            await asyncio.sleep(QUIET_SECONDS)

    async def _restart(self) -> None:
        await self._quiet()
        self.operator.stop()
        mark, started = self.audit.mark(), time.monotonic()
        self.operator.start()
        self.operator.wait_ready(60)
        seconds = time.monotonic() - started
        await asyncio.sleep(15)
        self.figures["restart"] = {
            "ready_seconds": round(seconds, 1),
            "writes": len(self.subject.writes(self.audit, mark)),
        }
        self.operator.stop()

    async def _settled(self, namespace: str, count: int) -> bool:
        items = (await self.client.get(self.subject.path(namespace)))["items"]
        if len(items) < count or not all(item.get("status") for item in items):
            return False
        for plural in self.subject.children:
            listed = await self.client.get(self.subject.path(namespace, plural), metadata_only=True)
            if len(listed["items"] or ()) < count:
                return False
        return True

    async def _complete(self, namespace: str, name: str) -> bool:
        names = {
            plural: f"{name}-cache" if plural == "persistentvolumeclaims" else name for plural in self.subject.children
        }
        found = [
            await self.client.find(f"{self.subject.path(namespace, plural)}/{names[plural]}")
            for plural in self.subject.children
        ]
        return None not in found

    async def _clean(self, namespace: str) -> None:
        """Remove all that was made, so that the controller manager is done with it."""
        await self.client.delete(self.subject.path(namespace))
        for plural in self.subject.children:
            await self.client.delete(self.subject.path(namespace, plural))

        async def is_empty() -> bool:
            return not (await self.client.get(f"/api/v1/namespaces/{namespace}/pods?limit=1"))["items"]

        await self._until(is_empty, 300)
        await asyncio.sleep(10)

    async def _until(self, is_done: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.25) -> None:
        deadline = time.monotonic() + seconds
        while not await is_done():
            if time.monotonic() > deadline:
                raise SystemExit(f"not done after {seconds} s; {self.operator.tail()}")
            await asyncio.sleep(pause)


def _sent_spec(plural: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without what the API server filled in and would refuse."""
    dropped = {"services": {"clusterIP", "clusterIPs"}, "persistentvolumeclaims": {"volumeName"}}
    return {key: value for key, value in spec.items() if key not in dropped.get(plural, set())}


def _spread(seconds: list[float]) -> dict[str, int]:
    ordered = sorted(1000 * value for value in seconds)
    return {"p50": round(statistics.median(ordered)), "max": round(ordered[-1])}


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
