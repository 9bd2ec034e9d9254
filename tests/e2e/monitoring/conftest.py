"""A cluster with the operator and its alerts, and prometheus-operator, Prometheus and Alertmanager next to it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.monitoring import alertmanager, generated, stack
from tests.e2e.monitoring.generated import GROUP, RELEASE
from tests.e2e.monitoring.prometheus import Prometheus, Watch
from tests.e2e.monitoring.recorder import Recorder
from tests.e2e.monitoring.scenario import World
from tools.harness import real_cluster
from tools.harness.kube import Kube
from tools.harness.real_cluster import RealCluster
from tools.harness.rights import NAME, SYSTEM
from tools.localcluster import backends, settings
from vllm_operator.install.manifests import MonitoringOptions, operator_manifests

RECORDER = Recorder()
CRDS = ("podmonitors", "prometheusrules", "prometheuses", "alertmanagers", "alertmanagerconfigs")
"""Those that must be there before an object is applied."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table at the end, and write it where MONITORING_JSON says."""
    if RECORDER.alerts:
        terminalreporter.section("alerts")
        terminalreporter.write_line(RECORDER.table())
        if path := os.environ.get("MONITORING_JSON"):
            RECORDER.write(Path(path))


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    return RECORDER


@pytest.fixture(scope="session")
def deadline() -> float:
    """The time, since the epoch, at which every wait ends: MONITORING_SECONDS from now, 50 minutes by default."""
    return time.time() + float(os.environ.get("MONITORING_SECONDS", "3000"))


@pytest.fixture(scope="session")
def cluster(deadline: float) -> Iterator[RealCluster]:
    if reason := backends.lack():
        pytest.skip(reason)
    with real_cluster.real_cluster() as found:
        if not found.is_local:
            pytest.skip("these causes are done to the processes and nodes of the local cluster")
        yield found


@pytest.fixture(scope="session")
def kube(cluster: RealCluster) -> Iterator[Kube]:
    """The cluster with the CRDs and the operator; both are gone afterwards, unless they were there before."""
    kube = cluster.kube
    files = list(map(str, generated.crd_files()))
    had = kube.get("CustomResourceDefinition", f"{CRDS[0]}.{GROUP}") is not None
    try:
        for file in files:
            kube.kubectl("apply", "--server-side", "-f", file)
        kube.wait_for_crds(*(f"{plural}.{GROUP}" for plural in CRDS))
        with real_cluster.installed_operator(kube):
            _watch_operator(kube)
            yield kube
    finally:
        if not had:
            for file in files:
                kube.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", file, check=False)


def _watch_operator(kube: Kube) -> None:
    """Apply the PodMonitor and the PrometheusRule of the operator, with the labels that Prometheus selects."""
    options = MonitoringOptions(pod_monitor=True, rules=True)
    for body in operator_manifests(settings.OPERATOR_IMAGE, SYSTEM, (), options):
        if body["kind"] in {"PodMonitor", "PrometheusRule"}:
            body["metadata"]["labels"] = {**body["metadata"].get("labels", {}), **RELEASE}
            kube.apply(body, "--server-side", namespace=SYSTEM)
    kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=90s")


@pytest.fixture(scope="session")
def namespace(kube: Kube) -> Iterator[str]:
    with kube.namespace("monitoring") as name:
        try:
            yield name
        finally:
            kube.kubectl("-n", name, "delete", "vllmservers", "--all", "--timeout=60s", check=False)
            kube.kubectl("-n", name, "delete", "pods", "--all", "--grace-period=1", "--wait=false", check=False)


@pytest.fixture(scope="session")
def receiver() -> Iterator[alertmanager.Receiver]:
    with alertmanager.receiver() as found:
        yield found


@pytest.fixture(scope="session")
def prometheus(
    kube: Kube, receiver: alertmanager.Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Prometheus and Alertmanager, configured by prometheus-operator."""
    with stack.monitored(kube, receiver.url, tmp_path_factory.mktemp("prometheus")) as process:
        yield process


@pytest.fixture(scope="session")
def watch(prometheus: Prometheus) -> Iterator[Watch]:
    with Watch(prometheus).watching() as found:
        yield found


@pytest.fixture(scope="session")
def world(
    cluster: RealCluster, namespace: str, prometheus: Prometheus, watch: Watch, recorder: Recorder,
    receiver: alertmanager.Receiver, deadline: float,
) -> World:  # fmt: skip
    return World(cluster, namespace, prometheus, watch, recorder, receiver, deadline)
