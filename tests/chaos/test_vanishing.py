"""Namespaces that terminate, CRDs that vanish and return, and an API version that changes, while the operator runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.chaos.collector import await_garbage_collector
from tests.chaos.scenarios import FULL
from tests.helpers.alone import CRD, Alone, install_crd, operator_alone
from tests.integration.servers import OPTIONAL_KINDS, Servers
from tools.harness.audit import Request
from tools.harness.crds import install_monitoring_crds, monitoring_crds, remove_monitoring_crds
from tools.harness.kube import Kube

WITHIN_SECONDS = 60.0
QUIET_SECONDS = 10.0
LAST_WRITES = 1
"""Most status writes for the reactions of controllers to a change, before all is at rest."""
ENDING_WRITES = 8
"""The applies of one pass, which are sent at once, and two statuses."""
BACK_SECONDS = 30.0
"""Until objects of a kind that returned are back."""


class World(Alone):
    """Start a separate cluster, since CRDs belong to all namespaces, and one operator that watches all of it."""

    def writes(self, mark: int, namespace: str, resources: tuple[str, ...] = ()) -> list[Request]:
        """Return the operator's writes, refused ones included."""
        found = self.plane.audit.writes(mark, namespace=namespace)
        return [request for request in found if not resources or request.resource in resources]

    def unharmed(self, pid: int) -> None:
        assert self.process.alive(), self.process.tail()
        assert self.process.process is not None
        assert self.process.process.pid == pid
        assert self.process.answers("/healthz")

    @property
    def pid(self) -> int:
        assert self.process.process is not None
        return self.process.process.pid


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with operator_alone(monitoring=True) as alone:
        await_garbage_collector(alone.kube)
        yield World(alone.plane, alone.kube, alone.process)


@pytest.fixture
def servers(world: World) -> Iterator[Servers]:
    with world.kube.namespace("vanishing") as namespace:
        yield Servers(world.kube, namespace)


def complete(servers: Servers, name: str, within: float = WITHIN_SECONDS) -> None:
    """Wait until a server has its children, the optional ones too, and says so."""
    servers.kube.eventually(
        lambda: {"Deployment", "Service", *OPTIONAL_KINDS} <= set(servers.children(name)), within=within
    )
    monitored(servers, name, "True")


def at_rest(world: World, namespace: str) -> None:
    """Nothing is written for a while, once Kubernetes' controllers have answered to the last change."""

    def quiet() -> bool:
        mark = world.plane.audit.mark()
        time.sleep(QUIET_SECONDS)
        return world.writes(mark, namespace) == []

    mark = world.plane.audit.mark()
    world.kube.eventually(quiet, within=WITHIN_SECONDS)
    writes = world.writes(mark, namespace)
    assert len(writes) <= LAST_WRITES, [str(one.target) for one in writes]


def monitored(servers: Servers, name: str, status: str) -> None:
    servers.kube.eventually(
        lambda: servers.condition(name, "MonitoringActive").get("status") == status, within=WITHIN_SECONDS
    )


def missed(servers: Servers, name: str) -> None:
    """Wait until a server says that a kind is not installed: a CRD on its way out first refuses what is created."""
    servers.kube.eventually(
        lambda: servers.condition(name, "MonitoringActive").get("reason") == "CRDNotInstalled", within=WITHIN_SECONDS
    )


def test_namespace_that_terminates_gets_no_stream_of_refused_writes(world: World) -> None:
    pid = world.pid
    with world.kube.namespace("ending") as namespace:
        servers = Servers(world.kube, namespace)
        for name in ("one", "two", "three"):
            servers.create(name, FULL, settled=False)
        for name in ("one", "two", "three"):
            complete(servers, name)
        holder = {"name": "holder", "finalizers": ["example.com/held"]}
        world.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": holder}, namespace)
        mark = world.plane.audit.mark()
        world.kube.delete("Namespace", namespace)
        time.sleep(15)
        later = world.plane.audit.mark()
        time.sleep(QUIET_SECONDS)
        writes, lately = world.writes(mark, namespace), world.writes(later, namespace)
        print(
            f"terminating for 25 s: {len(writes)} writes, refused {sum(one.code == 403 for one in writes)}, none later"
        )
        assert world.kube.must_get("Namespace", namespace)["status"]["phase"] == "Terminating"
        assert lately == []
        assert len(writes) <= 3 * ENDING_WRITES, [str(one.target) for one in writes]
        world.kube.patch("ConfigMap", "holder", namespace, {"metadata": {"finalizers": None}})
        world.kube.eventually(lambda: world.kube.get("Namespace", namespace) is None, within=WITHIN_SECONDS)
    mark = world.plane.audit.mark()
    time.sleep(3)
    assert [one for one in world.plane.audit.since(mark) if one.namespace == namespace] == []
    world.unharmed(pid)


def test_optional_crds_that_vanish_and_return_bring_their_objects_back(world: World, servers: Servers) -> None:
    pid = world.pid
    servers.create("watched")
    complete(servers, "watched")
    try:
        remove_monitoring_crds(world.kube)
        missed(servers, "watched")
        servers.patch("watched", {"replicas": 2})
        at_rest(world, servers.namespace)
    finally:
        install_monitoring_crds(world.kube)
    began = time.monotonic()
    complete(servers, "watched", within=BACK_SECONDS)
    print(f"returned CRDs: objects back after {time.monotonic() - began:.1f} s")
    world.kube.delete("PodMonitor", "watched", servers.namespace)
    world.kube.eventually(lambda: servers.find_child("PodMonitor", "watched") is not None, within=20)
    world.unharmed(pid)


def serve(kube: Kube, *, v1: bool) -> None:
    """Serve the optional kinds under v1, or under v1alpha1 alone."""
    for path in monitoring_crds():
        definition = yaml.safe_load(path.read_text())
        (first,) = definition["spec"]["versions"]
        other = {**first, "name": "v1alpha1", "served": not v1, "storage": False}
        definition["spec"]["versions"] = [{**first, "served": v1}, other]
        kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(definition))


def test_optional_kind_of_another_version_is_reported_and_left_alone(world: World, servers: Servers) -> None:
    pid = world.pid
    servers.create("watched")
    complete(servers, "watched")
    uid = servers.child("PodMonitor", "watched")["metadata"]["uid"]
    try:
        serve(world.kube, v1=False)
        monitored(servers, "watched", "False")
        condition_now = servers.condition("watched", "MonitoringActive")
        print(f"another version: {condition_now['reason']}: {condition_now['message']}")
        assert condition_now["reason"] == "CRDNotInstalled"
        assert "monitoring.coreos.com/v1" in condition_now["message"]
        servers.patch("watched", {"replicas": 2})
        at_rest(world, servers.namespace)
    finally:
        serve(world.kube, v1=True)
    complete(servers, "watched")
    assert servers.child("PodMonitor", "watched")["metadata"]["uid"] == uid, "it was there all the time"
    world.kube.patch("PodMonitor", "watched", servers.namespace, {"spec": {"podMetricsEndpoints": []}})
    world.kube.eventually(
        lambda: servers.child("PodMonitor", "watched")["spec"]["podMetricsEndpoints"] != [], within=20
    )
    at_rest(world, servers.namespace)
    world.unharmed(pid)


def test_vllmserver_crd_may_vanish_and_return(world: World, servers: Servers) -> None:
    pid = world.pid
    servers.create("before")
    complete(servers, "before")
    world.kube.delete_crd(CRD)
    world.kube.eventually(lambda: servers.find_child("Deployment", "before") is None, within=120)
    mark = world.plane.audit.mark()
    time.sleep(QUIET_SECONDS)
    assert world.writes(mark, servers.namespace) == []
    world.unharmed(pid)
    install_crd(world.kube)
    world.kube.client.resources.invalidate_cache()
    began = time.monotonic()
    servers.create("after", settled=False)
    servers.settled("after", within=WITHIN_SECONDS)
    complete(servers, "after")
    print(f"own CRD returned: a server complete after {time.monotonic() - began:.1f} s")
    assert servers.find_child("Deployment", "before") is None
    world.unharmed(pid)
