"""Rights that are taken away from the running operator, and given back, before a real API server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.servers import OPTIONAL_KINDS, Servers
from tools.harness import rights
from tools.harness.audit import Request
from tools.harness.control_plane import Plane, control_plane, missing
from tools.harness.crds import install_monitoring_crds
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd
from vllm_operator.install.manifests import operator_manifests

NAMES = ("one", "two", "three")
AWAY_SECONDS = 20.0
RECOVERY_SECONDS = 30.0
CALLS_A_SECOND = 2.0
MONITORING = "monitoring.coreos.com"


@dataclass
class Scene:
    """An operator with the shipped rights and no other, and servers at rest."""

    plane: Plane
    servers: Servers
    process: OperatorProcess
    role: Object
    binding: Object

    @property
    def kube(self) -> Kube:
        return self.servers.kube

    def single(self, mark: int) -> list[Request]:
        """Return the operator's reads and writes of single objects of the servers."""
        asked = rights.requests(self.plane.audit, mark)
        return [one for one in asked if one.name and one.namespace == self.servers.namespace]

    def denied(self, mark: int) -> list[Request]:
        return [one for one in rights.requests(self.plane.audit, mark) if one.is_denied]


def shipped(kind: str) -> Object:
    manifests = operator_manifests("none", rights.SYSTEM)
    [found] = [body for body in manifests if body["kind"] == kind and body["metadata"]["name"] == rights.NAME]
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Plane, Kube, OperatorProcess]]:
    if reason := missing():
        pytest.skip(reason)
    with control_plane() as plane:
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        install_monitoring_crds(kube)
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig")
        process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log")
        kube.reports.append(process.tail)
        process.start()
        try:
            process.wait_ready()
            yield plane, kube, process
        finally:
            process.kill()


@pytest.fixture
def scene(cluster: tuple[Plane, Kube, OperatorProcess]) -> Iterator[Scene]:
    plane, kube, process = cluster
    with kube.namespace("rights") as namespace:
        servers = Servers(kube, namespace)
        for name in NAMES:
            servers.create(name, settled=False)
        for name in NAMES:
            servers.settled(name, within=60)
            kube.eventually(lambda name=name: set(OPTIONAL_KINDS) <= set(servers.children(name)), within=60)
        assert process.process is not None
        pid = process.process.pid
        yield Scene(plane, servers, process, shipped("ClusterRole"), shipped("ClusterRoleBinding"))
        assert process.alive(), process.tail()
        assert process.process.pid == pid
        assert process.answers("/healthz")


def change(scene: Scene) -> None:
    """Act as users while the rights are missing."""
    scene.servers.patch("one", {"replicas": 2}, settled=False)
    scene.kube.delete("Service", "two", scene.servers.namespace)
    scene.kube.delete("PodMonitor", "three", scene.servers.namespace)


def restored(scene: Scene) -> None:
    """Wait until all that was changed is in place."""
    servers = scene.servers
    scene.kube.eventually(lambda: servers.child("Deployment", "one")["spec"]["replicas"] == 2, within=RECOVERY_SECONDS)
    for kind, name in (("Service", "two"), ("PodMonitor", "three")):
        scene.kube.eventually(
            lambda kind=kind, name=name: servers.find_child(kind, name) is not None, within=RECOVERY_SECONDS
        )
    for name in NAMES:
        servers.settled(name, within=RECOVERY_SECONDS)


def judged(scene: Scene, mark: int, began: float) -> str:
    """Check that there were few calls about single objects; return a description of them."""
    seconds = time.monotonic() - began
    asked, refused = scene.single(mark), scene.denied(mark)
    assert refused, "no right was missing"
    assert len(asked) <= CALLS_A_SECOND * len(NAMES) * seconds, [f"{one.verb} {one.target}" for one in asked]
    return f"{len(asked)} calls about single objects, {len(refused)} denied in {seconds:.0f} s"


def test_all_rights_may_go_and_return(scene: Scene) -> None:
    mark, began = scene.plane.audit.mark(), time.monotonic()
    scene.kube.kubectl("delete", "clusterrolebinding", scene.binding["metadata"]["name"])
    change(scene)
    time.sleep(AWAY_SECONDS)
    scene.kube.apply(scene.binding, "--server-side")
    back = time.monotonic()
    restored(scene)
    print(f"all rights: recovered in {time.monotonic() - back:.1f} s, {judged(scene, mark, began)}")


def test_rights_on_an_optional_kind_may_go_and_return(scene: Scene) -> None:
    mark, began = scene.plane.audit.mark(), time.monotonic()
    rules = [rule for rule in scene.role["rules"] if rule["apiGroups"] != [MONITORING]]
    assert len(rules) < len(scene.role["rules"])
    scene.kube.apply({**scene.role, "rules": rules}, "--server-side", "--force-conflicts")
    change(scene)
    scene.kube.eventually(
        lambda: scene.servers.child("Deployment", "one")["spec"]["replicas"] == 2, within=RECOVERY_SECONDS
    )
    scene.kube.eventually(lambda: scene.servers.find_child("Service", "two") is not None, within=RECOVERY_SECONDS)
    time.sleep(AWAY_SECONDS)
    scene.kube.apply(scene.role, "--server-side", "--force-conflicts")
    back = time.monotonic()
    restored(scene)
    print(f"one kind: recovered in {time.monotonic() - back:.1f} s, {judged(scene, mark, began)}")
