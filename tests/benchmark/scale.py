"""`make bench-scale`: many servers at once, beside a bare write loop without any operator, in one run.

A control plane without nodes: pods stay Pending, nothing plays them. Calls are counted in the API server's audit log,
CPU comes from the operating system. BENCH_SERVERS=N sets the number of servers, BENCH_REST=SECONDS the time at rest,
BENCH_JSON=FILE writes the figures too.
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
from pathlib import Path
from typing import Any

import orjson

from tests.benchmark.loop import FastClient
from tests.support import control_plane as planes
from tests.support.crds import install_monitoring_crds
from tests.support.kube import Kube
from tests.support.operator_process import OperatorProcess
from vllm_operator.api.crd import crd

SERVERS = int(os.environ.get("BENCH_SERVERS", "1000"))
REST_SECONDS = float(os.environ.get("BENCH_REST", "60"))
IN_FLIGHT = 32
SAMPLES = 20
QUIET_SECONDS = 10.0
CHILDREN = ("deployments", "services", "persistentvolumeclaims", "podmonitors", "prometheusrules")
GROUPS = {
    "deployments": "/apis/apps/v1",
    "services": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "podmonitors": "/apis/monitoring.coreos.com/v1",
    "prometheusrules": "/apis/monitoring.coreos.com/v1",
}
SERVER_PATH = "/apis/vllm-operator.dev/v1alpha1"


def server(namespace: str, name: str, image: str = "vllm/vllm-openai:v0.32.0") -> dict[str, Any]:
    """A server with five children: Deployment, Service, claim, PodMonitor, PrometheusRule."""
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": "VLLMServer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"},
            "image": image,
            "engine": {"maxModelLen": 8192, "gpuMemoryUtilization": 0.9},
            "cache": {"size": "100Gi", "retain": False},
        },
    }


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]], limit: int = IN_FLIGHT) -> list[Any]:
    """Run `work` over the items, so many at once."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


class Bench:
    """The measurements, in the order in which they are taken."""

    def __init__(self, plane: planes.Plane, kube: Kube, client: FastClient, operator: OperatorProcess) -> None:
        self.plane, self.kube, self.client, self.operator = plane, kube, client, operator
        self.audit = plane.audit
        self.figures: dict[str, Any] = {"servers": SERVERS, "children_per_server": len(CHILDREN), "pods": "pending"}

    async def run(self) -> dict[str, Any]:
        """All measurements."""
        template = await self._recorded_children()
        before = await self._bare_loop("bare-1", template)
        await self._converge()
        after = await self._bare_loop("bare-2", template)
        bare = (before + after) / 2
        self.figures |= {"bare_loop_seconds": [round(before, 1), round(after, 1)]}
        self.figures["ratio_to_bare_loop"] = round(self.figures["converge_seconds"] / bare, 2)
        await self._rest()
        await self._latencies("at_scale")
        await self._change_all()
        await self._restart()
        return self.figures

    async def _recorded_children(self) -> dict[str, dict[str, Any]]:
        """Children of one server as the operator applies them: what the bare loop writes too."""
        await self.client.namespace("sample")
        self.operator.start()
        self.operator.wait_ready()
        await self._latencies("alone")
        await self.client.post(f"{SERVER_PATH}/namespaces/sample/vllmservers", server("sample", "sample"))
        await self._until(lambda: self._settled("sample", 1), 30)
        self.operator.stop()
        found = {}
        for plural in CHILDREN:
            (item,) = (await self.client.get(f"{GROUPS[plural]}/namespaces/sample/{plural}"))["items"]
            metadata = {key: item["metadata"][key] for key in ("name", "labels", "annotations")}
            found[plural] = {"metadata": metadata, "spec": _sent_spec(plural, item["spec"])}
        live = (await self.client.get(f"{SERVER_PATH}/namespaces/sample/vllmservers"))["items"][0]
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
            for plural in CHILDREN:
                metadata = {**template[plural]["metadata"], "name": name, "namespace": namespace}
                body = {
                    "apiVersion": GROUPS[plural].removeprefix("/apis/").removeprefix("/api/"),
                    "kind": kinds[plural],
                }
                text = orjson.dumps({**body, "metadata": metadata, "spec": template[plural]["spec"]})
                text = text.replace(
                    b'"app.kubernetes.io/instance":"sample"', b'"app.kubernetes.io/instance":"%s"' % name.encode()
                )
                text = text.replace(
                    b'"app.kubernetes.io/managed-by":"vllm-operator"', b'"app.kubernetes.io/managed-by":"bench"'
                )
                await self.client.apply(f"{GROUPS[plural]}/namespaces/{namespace}/{plural}/{name}", text)
            await self.client.merge(f"{path}/{name}/status", orjson.dumps({"status": template["status"]}))

        started = time.monotonic()
        await each(range(SERVERS), one)
        seconds = time.monotonic() - started
        await self._clean(namespace)
        return seconds

    async def _converge(self) -> None:
        namespace = "scale"
        await self.client.namespace(namespace)
        self.operator.start()
        self.operator.wait_ready()
        mark, cpu, started = self.audit.mark(), self.operator.cpu_seconds(), time.monotonic()
        path = f"{SERVER_PATH}/namespaces/{namespace}/vllmservers"
        await each(range(SERVERS), lambda index: self.client.post(path, server(namespace, f"s{index:05d}")))
        self.figures["creation_seconds"] = round(time.monotonic() - started, 1)
        await self._until(lambda: self._settled(namespace, SERVERS), 600)
        seconds = time.monotonic() - started
        await asyncio.sleep(5)
        used = self.operator.cpu_seconds() - cpu
        writes = self.audit.writes(mark)
        self.figures |= {
            "converge_seconds": round(seconds, 1),
            "operator_cpu_ms_per_server": round(1000 * used / SERVERS, 1),
            "operator_rss_mib": round(self.operator.resident_megabytes() * 1e6 / 2**20),
            "writes_per_server": round(len(writes) / SERVERS, 2),
            "writes_by_target": dict(
                Counter(f"{w.resource}{'/' + w.subresource if w.subresource else ''}" for w in writes)
            ),
            "reads_per_server": round((len(self.audit.since(mark)) - len(writes)) / SERVERS, 2),
        }

    async def _rest(self) -> None:
        mark, cpu = self.audit.mark(), self.operator.cpu_seconds()
        await asyncio.sleep(REST_SECONDS)
        requests = self.audit.since(mark)
        self.figures["rest"] = {
            "seconds": REST_SECONDS,
            "writes": len([request for request in requests if request.is_write]),
            "lists": len([request for request in requests if request.verb == "list"]),
            "calls": dict(Counter(request.verb for request in requests)),
            "core_percent": round(100 * (self.operator.cpu_seconds() - cpu) / REST_SECONDS, 2),
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
        await asyncio.sleep(10)
        writes = Counter(write.resource for write in self.audit.writes(mark, namespace="scale"))
        self.figures["change_all"] = {"seconds": round(seconds, 1), "writes": dict(writes)}

    async def _quiet(self) -> None:
        """Wait until nothing is written any more: the controllers take their time over many changes."""
        mark = -1
        while mark < 0 or self.audit.writes(mark):
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
        self.figures["restart"] = {"ready_seconds": round(seconds, 1), "writes": len(self.audit.writes(mark))}
        self.operator.stop()

    async def _settled(self, namespace: str, count: int) -> bool:
        items = (await self.client.get(f"{SERVER_PATH}/namespaces/{namespace}/vllmservers"))["items"]
        if len(items) < count or not all(item.get("status", {}).get("conditions") for item in items):
            return False
        for plural in CHILDREN:
            listed = await self.client.get(f"{GROUPS[plural]}/namespaces/{namespace}/{plural}", metadata_only=True)
            if len(listed["items"]) < count:
                return False
        return True

    async def _complete(self, namespace: str, name: str) -> bool:
        names = {plural: f"{name}-cache" if plural == "persistentvolumeclaims" else name for plural in CHILDREN}
        found = [
            await self.client.find(f"{GROUPS[plural]}/namespaces/{namespace}/{plural}/{names[plural]}")
            for plural in CHILDREN
        ]
        return None not in found

    async def _clean(self, namespace: str) -> None:
        """Remove the bare loop's objects, so that the controller manager is done with them."""
        for plural in CHILDREN:
            await self.client.delete(f"{GROUPS[plural]}/namespaces/{namespace}/{plural}")
        await self.client.delete(f"{SERVER_PATH}/namespaces/{namespace}/vllmservers")

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
    kube = plane.kube()
    kube.apply(crd(), "--server-side")
    install_monitoring_crds(kube)
    await asyncio.sleep(2)
    operator = OperatorProcess(plane.kubeconfig, plane.folder / "operator.log")
    try:
        async with FastClient(plane.kubeconfig) as client:
            return await Bench(plane, kube, client, operator).run()
    finally:
        operator.kill()


def main() -> int:
    """Run and print."""
    if reason := planes.missing():
        print(reason, file=sys.stderr)
        return 1
    with planes.control_plane() as plane:
        figures = asyncio.run(measure(plane))
    for name, value in figures.items():
        print(f"{name:32} {value}")
    if target := os.environ.get("BENCH_JSON"):
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
