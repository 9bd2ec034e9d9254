"""Measure seconds to the first completion, API writes per server, and the operator's cost at rest.

    python -m tools.bench.first_completion [--only serving|rest]

The plain Deployment is the very pod that the operator made, applied by hand under another name in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tools.harness import in_cluster, real_cluster
from tools.harness.audit import AuditLog
from tools.harness.control_plane import control_plane
from tools.harness.in_cluster import InCluster
from tools.harness.kube import Kube, Object, essence
from tools.harness.operator_process import OperatorProcess
from tools.harness.real_cluster import RealCluster, cpu_server
from tools.harness.rights import USER
from tools.localcluster import backends
from vllm_operator.api.crd import crd
from vllm_operator.api.names import API_VERSION, KIND

ROUNDS = 2
AT_REST_SECONDS = 30
MANY = 50


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name:<58}{self.value:>10.1f} {self.unit}"


def serving() -> Iterator[Figure]:
    """Measure on a real cluster: a server, and the same pod applied by hand."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(real_cluster.real_cluster())
        stack.enter_context(real_cluster.installed_operator(cluster.kube))
        namespace = stack.enter_context(cluster.kube.namespace("benchmark"))
        inside = in_cluster.start(cluster.kube, namespace, cluster.vllm_image)
        in_cluster.wait(inside)
        yield from compared(cluster, inside)


def compared(cluster: RealCluster, inside: InCluster) -> Iterator[Figure]:
    """Measure both in turn, several times: the machine's caches are warm for both."""
    kube = cluster.kube
    served: list[float] = []
    plain: list[float] = []
    mark = cluster.audit.mark() if cluster.audit else 0
    for number in range(ROUNDS):
        name = f"served-{number}"
        body = cpu_server(cluster, name, {"model": {"uri": "file:///models/tiny"}})
        served.append(until_answered(inside, name, partial(kube.create, body, inside.namespace)))
        copies = by_hand(kube, inside.namespace, name, f"plain-{number}")
        vanish(kube, inside.namespace, KIND, name)
        plain.append(until_answered(inside, f"plain-{number}", partial(create_all, kube, inside.namespace, copies)))
        vanish(kube, inside.namespace, "Deployment", f"plain-{number}")
    yield Figure("apply to first completion, VLLMServer (median)", statistics.median(served), "s")
    yield Figure("apply to first completion, plain Deployment (median)", statistics.median(plain), "s")
    if cluster.audit:
        yield Figure("API writes per server, from apply to its end", writes(cluster.audit, mark) / ROUNDS, "")


def until_answered(inside: InCluster, name: str, create: Callable[[], Any]) -> float:
    """Return the seconds from the first write to the first completion through the Service."""
    began = time.monotonic()
    create()
    inside.kube.eventually(lambda: inside.chat(name, "tiny")[0] == 200, within=240, namespace=inside.namespace)
    return time.monotonic() - began


def by_hand(kube: Kube, namespace: str, server: str, name: str) -> list[Object]:
    """Return Deployment and Service of a server under another name, as a person would keep them in a file."""
    found = [essence(kube.must_get(kind, server, namespace)) for kind in ("Deployment", "Service")]
    return [renamed({**body, "metadata": {"name": server}, "spec": body["spec"]}, server, name) for body in found]


def renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        dropped = ("clusterIP", "clusterIPs")
        return {key: renamed(item, old, new) for key, item in value.items() if key not in dropped}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return new if value == old else value


def create_all(kube: Kube, namespace: str, bodies: list[Object]) -> None:
    for body in bodies:
        kube.create(body, namespace)


def vanish(kube: Kube, namespace: str, kind: str, name: str) -> None:
    """Delete, and wait until its pods use nothing any more."""
    kube.delete(kind, name, namespace)
    selector = f"app.kubernetes.io/instance={name}"
    kube.eventually(lambda: kube.list("Pod", namespace, selector) == [], within=120, namespace=namespace)


def writes(audit: AuditLog, mark: int) -> int:
    """Count the operator's writes of servers and their children, without those of its Lease."""
    found = [request for request in audit.since(mark, "") if request.user == USER and request.is_write]
    return len([request for request in found if request.resource != "leases"])


def at_rest() -> Iterator[Figure]:
    """Measure on an API server without nodes: CPU and memory of the operator while nothing happens."""
    with control_plane() as plane, contextlib.ExitStack() as stack:
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.eventually(lambda: kube.kubectl("get", "vllmservers", check=False).code == 0, within=30)
        process = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / "operator.log")
        process.start()
        stack.callback(process.stop)
        process.wait_ready()
        namespace = stack.enter_context(kube.namespace("rest"))
        create_server(kube, namespace, "one-0")
        wait_for_status(kube, namespace, "one-0")
        yield from measured(process, 1)
        mark, began = plane.audit.mark(), time.monotonic()
        for number in range(1, MANY):
            create_server(kube, namespace, f"many-{number}")
        wait_for_status(kube, namespace, f"many-{MANY - 1}")
        yield Figure(f"seconds to plan and apply {MANY - 1} more servers", time.monotonic() - began, "s")
        time.sleep(10)
        yield Figure("API writes per server without pods", len(plane.audit.writes(mark)) / (MANY - 1), "")
        yield from measured(process, MANY)


def create_server(kube: Kube, namespace: str, name: str) -> None:
    """Create a VLLMServer that gets no pod, since the API server has no node."""
    spec = {"model": {"uri": "hf://tiny-org/tiny"}}
    kube.create({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}, namespace)


def wait_for_status(kube: Kube, namespace: str, name: str) -> None:
    """Wait until the status of a server is of its present generation."""

    def is_current() -> bool:
        server = kube.must_get(KIND, name, namespace)
        return bool((server.get("status") or {}).get("observedGeneration") == server["metadata"]["generation"])

    kube.eventually(is_current, within=120, namespace=namespace)


def measured(process: OperatorProcess, count: int) -> Iterator[Figure]:
    """Measure CPU and memory for `AT_REST_SECONDS` without changes."""
    time.sleep(10)
    before, began = process.cpu_seconds(), time.monotonic()
    time.sleep(AT_REST_SECONDS)
    used = (process.cpu_seconds() - before) / (time.monotonic() - began)
    yield Figure(f"CPU of the operator at rest, {count} servers", used * 1000, "ms/s")
    yield Figure(f"memory of the operator at rest, {count} servers", process.resident_megabytes(), "MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["serving", "rest"])
    only = parser.parse_args().only
    if only != "rest" and (reason := backends.lack()):
        print(f"not measured: {reason}", file=sys.stderr)
        only = "rest"
    for part in [at_rest] * (only != "serving") + [serving] * (only != "rest"):
        for figure in part():
            print(figure, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
