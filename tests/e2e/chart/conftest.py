"""The table of install paths, and the cluster without an operator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chart.programs import built
from tests.chart.releases import Releases
from tools.chart.helm import Helm
from tools.harness import in_cluster
from tools.harness.in_cluster import InCluster
from tools.harness.real_cluster import NAME, SYSTEM, RealCluster

SECONDS: dict[str, dict[str, float]] = {}
"""Install path -> step -> seconds since nothing was installed."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds of each path, and write them where CHART_JSON says."""
    if not SECONDS:
        return
    terminalreporter.section("install paths: seconds")
    for name, steps in SECONDS.items():
        terminalreporter.write_line(
            f"{name:10} " + ", ".join(f"{step} {seconds:.0f}" for step, seconds in steps.items())
        )
    if path := os.environ.get("CHART_JSON"):
        # Several runs, each of some paths, write to one file.
        earlier = json.loads(Path(path).read_text()) if Path(path).exists() else {}
        Path(path).write_text(json.dumps({**earlier, **SECONDS}, indent=2))


@pytest.fixture(scope="session")
def bare(cluster: RealCluster) -> RealCluster:
    """The cluster, which has no operator."""
    if cluster.kube.get("Deployment", NAME, SYSTEM) is not None:
        pytest.skip("an operator is installed already: these tests install and remove it")
    return cluster


@pytest.fixture(scope="session")
def client(bare: RealCluster) -> Iterator[InCluster]:
    """A pod in the cluster that sends requests."""
    with bare.kube.namespace("client") as name:
        found = in_cluster.start(bare.kube, name, bare.vllm_image)
        in_cluster.wait(found)
        yield found


@pytest.fixture(params=["helm4", "helm3"])
def releases(
    request: pytest.FixtureRequest, bare: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Releases]:
    """Both Helm versions on the cluster; nothing is left behind, whatever happened."""
    helm = Helm(built(request.param), tmp_path_factory.mktemp(request.param))
    found = Releases(replace(helm, kubeconfig=bare.kube.kubeconfig), bare.kube)
    yield found
    found.remove_all()
    found.kube.kubectl("delete", "namespace", SYSTEM, "llm", "--ignore-not-found", "--timeout=120s")
    assert found.leftovers() == set()
