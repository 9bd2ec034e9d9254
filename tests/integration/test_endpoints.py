"""/metrics, /healthz and /readyz of a running operator."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.helpers.alone import operator_alone
from tests.helpers.operator_metrics import Scrape, documented
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.operator_process import OperatorProcess
from vllm_operator import __version__

PHASES = "vllm_operator_servers"


@dataclass(frozen=True)
class Scene:
    """A control plane with one operator: nobody else calls this API server under the operator's name."""

    plane: Plane
    servers: Servers
    process: OperatorProcess


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with operator_alone() as alone, alone.kube.namespace("endpoints") as namespace:
        yield Scene(alone.plane, Servers(alone.kube, namespace), alone.process)


def test_documented_metrics_are_the_exported_ones(scene: Scene) -> None:
    process = scene.process
    assert set(Scrape.of(process.port).families) == set(documented())


def test_metrics_count_the_work(scene: Scene) -> None:
    servers, process = scene.servers, scene.process
    before = Scrape.of(process.port)
    servers.create("measured")
    servers.accepted("measured")
    now = Scrape.of(process.port)
    assert now.samples("vllm_operator_build_info") == {(__version__,): 1}
    assert now.value("vllm_operator_leader") == 1
    assert now.value("vllm_operator_reconciles_total", "success") > before.value(
        "vllm_operator_reconciles_total", "success"
    )
    assert now.value("vllm_operator_watch_events_total", "VLLMServer") >= 1
    assert now.value("vllm_operator_cached_objects", "Deployment") == 1
    assert now.value("vllm_operator_servers_failing") == 0
    assert sum(now.samples(PHASES).values()) == 1
    assert now.samples(PHASES) == {(servers.get("measured")["status"]["phase"],): 1}


def test_calls_are_counted_as_the_api_server_counts_them(scene: Scene) -> None:
    """Reads by the operator itself and by kopf, and every write, each with its code."""
    servers, process = scene.servers, scene.process
    servers.create("counted", {"autoscaling": {"maxReplicas": 2}})

    def equal() -> None:
        counted = Scrape.of(process.port).samples("vllm_operator_api_requests_total")
        # The API server logs a watch when it ends; discovery has no resource.
        counted = {key: number for key, number in counted.items() if key[2] != "watch" and key[1] != "discovery"}
        logged = Counter(
            (str(request.code), "/".join(filter(None, (request.resource, request.subresource))), request.verb)
            for request in scene.plane.audit.since(0)
            if request.verb != "watch" and request.resource
        )
        assert counted == logged

    servers.kube.eventually(equal, within=20)


def test_suspended_process_is_not_alive(scene: Scene) -> None:
    """The endpoints live in the loop that does the work: when that hangs, the kubelet's probe fails."""
    process = scene.process
    assert process.process is not None
    process.process.send_signal(signal.SIGSTOP)
    try:
        assert not process.answers("/healthz")
    finally:
        process.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while not process.answers("/healthz"):
        assert time.monotonic() < deadline, process.tail()


def test_standby_is_ready_and_no_leader(scene: Scene) -> None:
    """A rollout of the operator must not wait for the Lease of the former one."""
    servers, plane = scene.servers, scene.plane
    now = "2100-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "another", "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "vllm-operator"}}
    servers.kube.apply({**lease, "spec": spec}, namespace=servers.namespace)
    options = ["--namespace", servers.namespace, "--leader-elect"]
    standby = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / "standby.log", options)
    standby.start()
    try:
        standby.wait_ready()
        assert standby.answers("/healthz")
        assert Scrape.of(standby.port).value("vllm_operator_leader") == 0
    finally:
        standby.kill()
