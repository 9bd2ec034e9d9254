"""The cluster with two nodes: replicas on one, the operator as it ships on the other; one table for all tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.states import nodes, operator_pod
from tests.e2e.states import registry as fake_registry
from tests.e2e.states.case import Case
from tests.e2e.states.recorder import Recorder
from tests.e2e.states.watch import StatusWatch
from tools.harness import real_cluster
from tools.harness.kube import Kube
from tools.harness.operator_process import die_with_parent
from tools.harness.real_cluster import RealCluster
from tools.localcluster import backends, settings, vllm_image

RECORDER = Recorder()
REGISTRY_PORT = 5039
REGISTRY_PASSWORD = "the-right-password"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table at the end, and write it where STATES_JSON says."""
    if not RECORDER.rows:
        return
    terminalreporter.section("states")
    terminalreporter.write_line(RECORDER.table())
    if RECORDER.story:
        terminalreporter.section("kubectl describe after many troubles")
        terminalreporter.write_line(RECORDER.story)
    if path := os.environ.get("STATES_JSON"):
        RECORDER.write(Path(path))


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    if reason := backends.lack():
        pytest.skip(reason)
    with real_cluster.real_cluster(nodes=2, serving=(nodes.SERVING,)) as found:
        if not found.is_local:
            pytest.skip("these faults are done to the nodes of the local cluster")
        yield found


@pytest.fixture(scope="session")
def kube(cluster: RealCluster) -> Iterator[Kube]:
    """The cluster with the operator in it, which lives on another node than the replicas."""
    with real_cluster.installed_operator(cluster.kube), nodes.back_as_it_was(cluster.kube):
        operator_pod.move_to(cluster.kube, nodes.OTHER)
        yield cluster.kube


@pytest.fixture(scope="session")
def watch(kube: Kube) -> Iterator[StatusWatch]:
    """All that a user sees of the servers in a namespace of their own."""
    with (
        kube.namespace("states", {"vllm-operator.dev/secrets": "all"}) as namespace,
        StatusWatch(kube, namespace) as found,
    ):
        yield found
        kube.kubectl("-n", namespace, "delete", "vllmservers,pvc", "--all", "--timeout=60s", check=False)


@pytest.fixture(scope="session")
def registry(kube: Kube) -> Iterator[str]:
    """A registry of the serving node, which holds vLLM's image; `host:port`."""
    folder = vllm_image.layout(settings.folders())
    command = [sys.executable, fake_registry.__file__, str(folder), str(REGISTRY_PORT), REGISTRY_PASSWORD]
    running = subprocess.Popen(nodes.in_node(command), preexec_fn=die_with_parent)
    try:
        # A loopback address: containerd speaks plain HTTP to no other.
        yield f"127.0.0.1:{REGISTRY_PORT}"
    finally:
        running.terminate()
        running.wait(10)
        nodes.untag(f"127.0.0.1:{REGISTRY_PORT}/")


Begin = Callable[[str], Case]


@pytest.fixture
def begin(kube: Kube, watch: StatusWatch) -> Iterator[Begin]:
    """Begin with a server of some name; it is gone, with its pods and memory, at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Case:
            stack.callback(remove, kube, watch.namespace, name)
            return Case(kube, watch, RECORDER, name)

        yield make


def remove(kube: Kube, namespace: str, name: str) -> None:
    """Delete a server and wait for its pods: the next one needs their memory."""
    kube.kubectl("-n", namespace, "delete", "vllmserver", name, "--ignore-not-found", "--timeout=60s")
    selector = f"app.kubernetes.io/instance={name}"
    kube.kubectl("-n", namespace, "delete", "pods", "-l", selector, "--grace-period=1", "--wait=false")
    kube.eventually(lambda: not kube.list("Pod", namespace, selector), within=90)
    kube.kubectl("-n", namespace, "delete", "pvc", "-l", selector, "--timeout=60s")
