"""A control plane with the real autoscalers, the operator with its metrics API, and stand-ins of replicas."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.helpers.alone import install_crd, plane_or_skip
from tests.integration.servers import Servers
from tools.harness import rights
from tools.harness.control_plane import Plane
from tools.harness.crds import install_keda_crd
from tools.harness.fake_fleet import FakeFleet, offer_metrics_api, wait_until_served
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from vllm_operator.install.manifests import operator_manifests

NAMESPACE = "llm"
START_SECONDS = 12.0
"""Seconds until a new replica is Ready: longer than it takes an autoscaler to look again."""
WITHIN = 120.0


@dataclass(frozen=True)
class Scene:
    """One cluster with one operator.

    Attributes:
        plane: the control plane.
        process: the operator.
        fleet: the replicas, and their load.
        servers: the VLLMServers.
    """

    plane: Plane
    process: OperatorProcess
    fleet: FakeFleet
    servers: Servers

    @property
    def kube(self) -> Kube:
        return self.servers.kube

    def ready(self, name: str) -> list[str]:
        """Return the pods of a server that are Ready."""
        return [pod for pod, server in self.fleet.ready.items() if server == name]

    def wanted(self, name: str) -> int:
        """Return the replicas of the Deployment."""
        return int(self.kube.must_get("Deployment", name, NAMESPACE)["spec"].get("replicas", 0))

    def highest(self, name: str, wanted: int, settle: float) -> int:
        """Wait until so many replicas serve, go on for `settle` seconds; return the most replicas meanwhile."""
        most, settled = 0, None
        deadline = time.monotonic() + WITHIN
        while settled is None or time.monotonic() < settled:
            most = max(most, self.wanted(name))
            if settled is None and len(self.ready(name)) >= wanted:
                settled = time.monotonic() + settle
            assert time.monotonic() < deadline, f"{self.ready(name)}: {self.kube.report(NAMESPACE)}"
            time.sleep(0.2)
        return most

    def becomes(self, name: str, wanted: int, within: float = WITHIN) -> None:
        """Wait until the Deployment has so many replicas, and all of them serve."""

        def is_so() -> None:
            assert (self.wanted(name), len(self.ready(name))) == (wanted, wanted)

        self.kube.eventually(is_so, within=within, namespace=NAMESPACE)

    def active(self, name: str, status: str, reason: str, *words: str, within: float = WITHIN) -> None:
        """Wait until AutoscalingActive has this status and reason, and its message these words."""

        def is_so() -> None:
            found = self.servers.condition(name, "AutoscalingActive")
            assert (found.get("status"), found.get("reason")) == (status, reason), found
            assert all(word in found["message"] for word in words), found

        self.kube.eventually(is_so, within=within, namespace=NAMESPACE)


@contextlib.contextmanager
def operated(network: int, *, namespaced: bool) -> Iterator[Scene]:
    """Run a control plane, an operator, and replicas at addresses of a network of their own."""
    with plane_or_skip() as plane, contextlib.ExitStack() as stack:
        kube = plane.kube()
        install_crd(kube)
        install_keda_crd(kube)
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        manifests = operator_manifests("none", rights.SYSTEM, (NAMESPACE,) if namespaced else ())
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig", manifests)
        options = [f"--namespace={NAMESPACE}"]
        if not namespaced:
            options = offer_metrics_api(kube, rights.SYSTEM, rights.NAME)
        process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", options)
        kube.reports.append(process.tail)
        process.start()
        stack.callback(process.kill)
        process.wait_ready()
        if not namespaced:
            wait_until_served(kube)
        fleet = stack.enter_context(FakeFleet(kube, NAMESPACE, network, START_SECONDS).running())
        yield Scene(plane, process, fleet, Servers(kube, NAMESPACE))


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """An operator of the whole cluster, which serves the metrics API."""
    with operated(52, namespaced=False) as made:
        yield made


@pytest.fixture(scope="session")
def namespaced() -> Iterator[Scene]:
    """An operator of one namespace, which may register no API."""
    with operated(53, namespaced=True) as made:
        yield made
