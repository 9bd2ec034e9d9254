"""Define the operator under measurement: this one, or another one.

BENCH_OPERATOR is the other's command line (it gets KUBECONFIG), BENCH_RESOURCE a file with one of its resources, in
which `{name}` and `{namespace}` stand for both, BENCH_CHILDREN its children as `apps/v1/deployments,v1/services`,
BENCH_SETUP files to apply first (its CRDs), BENCH_AGENT how its User-Agents begin. The resources are made in the
namespace `scale`.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tools.bench.loop import AGENT, FastClient
from tools.bench.pacing import until
from tools.harness.audit import OPERATOR, AuditLog, Request
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

Resource = Callable[[str, str], dict[str, Any]]
SILENT_START_SECONDS = 5.0
"""Seconds that another operator gets to start, since it may not report when it is ready."""
CRD_SECONDS = 30.0


def server(namespace: str, name: str, image: str = "vllm/vllm-openai:v0.32.0") -> dict[str, Any]:
    """Return a server with five children: Deployment, Service, claim, PodMonitor, PrometheusRule."""
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


@dataclass
class ForeignProcess(OperatorProcess):
    """The process of another operator, which does not report when it is ready."""

    command: tuple[str, ...] = ()

    def start(self) -> None:
        """Start it without waiting."""
        self.launch(self.command)

    def wait_ready(self, seconds: float = 30) -> None:
        """Give it time to start."""
        time.sleep(min(SILENT_START_SECONDS, seconds))
        assert self.alive(), f"the operator ended:\n{self.tail()}"


@dataclass
class MinimalRepairProcess(ForeignProcess):
    """The minimal repair loop (`minimal_repair.py`), which prints when it is ready."""

    def start(self) -> None:
        """Start it without waiting."""
        self.log.unlink(missing_ok=True)
        super().start()

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until its log holds the line `ready`."""
        deadline = time.monotonic() + seconds
        while "ready" not in self.log.read_text().splitlines():
            assert self.alive(), f"the minimal repair loop ended:\n{self.tail()}"
            assert time.monotonic() < deadline, (
                f"the minimal repair loop is not ready after {seconds:g} s:\n{self.tail()}"
            )
            time.sleep(0.05)


@dataclass(frozen=True)
class Subject:
    """An operator, its resource, and its children.

    Attributes:
        name: its name in the table.
        process: its process.
        resource: makes a resource of a namespace and a name.
        collection: URL path of the resources' collection, without namespace.
        children: URL path of the API group by plural.
        agent: how the User-Agent of its calls begins; empty for all that are not the cluster's or the bench's.
        is_ours: measure also what only this operator promises.
    """

    name: str
    process: OperatorProcess
    resource: Resource
    collection: str
    children: dict[str, str] = field(default_factory=dict)
    agent: str = OPERATOR
    is_ours: bool = True

    def path(self, namespace: str, plural: str = "") -> str:
        """Return the URL path of the collection of a child kind, or of the resources."""
        if plural:
            return f"{self.children[plural]}/namespaces/{namespace}/{plural}"
        root, _, resources = self.collection.rpartition("/")
        return f"{root}/namespaces/{namespace}/{resources}"

    def requests(self, audit: AuditLog, mark: int) -> list[Request]:
        """Return its calls since the mark."""
        found = audit.since(mark, self.agent)
        others = (AGENT, "kube-", "kubectl", "Python", "OpenAPI")
        return found if self.agent else [one for one in found if not one.agent.startswith(others)]

    def writes(self, audit: AuditLog, mark: int, namespace: str | None = None) -> list[Request]:
        """Return its writes since the mark."""
        found = [request for request in self.requests(audit, mark) if request.is_write]
        return [request for request in found if namespace is None or request.namespace == namespace]


def ours(kubeconfig: Path, log: Path) -> Subject:
    """Return this operator as the subject."""
    monitoring = "/apis/monitoring.coreos.com/v1"
    children = {"deployments": "/apis/apps/v1", "services": "/api/v1", "persistentvolumeclaims": "/api/v1"}
    children |= {"podmonitors": monitoring, "prometheusrules": monitoring}
    collection = "/apis/vllm-operator.dev/v1alpha1/vllmservers"
    return Subject("vllm-operator", OperatorProcess(kubeconfig, log), server, collection, children)


def naive(kubeconfig: Path, log: Path, like: Subject) -> Subject:
    """Return the simplest operator for the same resource and children."""
    process = ForeignProcess(kubeconfig, log, command=(sys.executable, "-m", "tools.bench.naive_loop"))
    return replace(like, name="the naive operator", process=process, agent="naive-loop", is_ours=False)


def minimal_repair(kubeconfig: Path, log: Path, namespace: str) -> MinimalRepairProcess:
    """Return the process that repairs a namespace without any operator."""
    command = (sys.executable, "-m", "tools.bench.minimal_repair", str(kubeconfig), namespace)
    return MinimalRepairProcess(kubeconfig, log, command=command)


async def other(kube: Kube, client: FastClient, kubeconfig: Path, log: Path) -> Subject:
    """Return the operator of BENCH_OPERATOR as the subject."""
    for path in filter(None, os.environ.get("BENCH_SETUP", "").split(",")):
        kube.kubectl("apply", "--server-side", "-f", path)
    command = tuple(shlex.split(os.environ["BENCH_OPERATOR"].replace("python ", f"{sys.executable} ", 1)))
    resource = _template(os.environ.get("BENCH_RESOURCE"))
    sample = resource("namespace", "name")
    root = _root(sample["apiVersion"])
    plural = await _plural(client, root, sample["kind"])
    children = {}
    for item in os.environ.get("BENCH_CHILDREN", "apps/v1/deployments,v1/services").split(","):
        version, _, name = item.rpartition("/")
        children[name] = _root(version)
    process = ForeignProcess(kubeconfig, log, command=command)
    agent = os.environ.get("BENCH_AGENT", "")
    return Subject(_name(command), process, resource, f"{root}/{plural}", children, agent, is_ours=False)


async def _plural(client: FastClient, root: str, kind: str) -> str:
    """Return the plural of a kind; a CRD that was just applied takes a moment to be served."""
    found: list[str] = []

    async def is_served() -> bool:
        known = (await client.find(root) or {}).get("resources", ())
        found.extend(item["name"] for item in known if item["kind"] == kind and "/" not in item["name"])
        return bool(found)

    await until(is_served, CRD_SECONDS)
    return found[0]


def _name(command: tuple[str, ...]) -> str:
    """Return the name of a program, or of the module that python runs."""
    return command[command.index("-m") + 1] if "-m" in command else Path(command[0]).name


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _template(path: str | None) -> Resource:
    """Return the resource of a file; a VLLMServer without a file, for operators that imitate this one."""
    if not path:
        return server
    text = Path(path).read_text()

    def made(namespace: str, name: str) -> dict[str, Any]:
        filled: dict[str, Any] = yaml.safe_load(text.replace("{name}", name).replace("{namespace}", namespace))
        filled["metadata"] = {**filled.get("metadata", {}), "name": name, "namespace": namespace}
        return filled

    return made
