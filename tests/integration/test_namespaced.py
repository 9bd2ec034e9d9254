"""An operator with Roles in some namespaces, and no right in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.helpers.alone import CRD, install_crd, plane_or_skip
from tests.integration.servers import OPTIONAL_KINDS, Servers
from tools.harness import rights
from tools.harness.control_plane import Plane
from tools.harness.crds import install_monitoring_crds, remove_monitoring_crds
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from tools.harness.rights import SYSTEM
from vllm_operator.install.manifests import operator_manifests

SERVED = ("team-a", "team-b")
PROMISED_SECONDS = 60
UNJUDGED = {"observedGeneration": -1}
"""The default of the CRD, for servers that no operator has seen."""


@dataclass(frozen=True)
class Scene:
    """A control plane with the namespaces, and a namespaced operator that need not run."""

    plane: Plane
    kube: Kube
    process: OperatorProcess

    def servers(self, namespace: str) -> Servers:
        return Servers(self.kube, namespace)

    def lend_rights(self) -> None:
        """Apply the Roles that ship, and give the operator a token."""
        rights.lend(self.kube, self.process.kubeconfig, operator_manifests("none", SYSTEM, SERVED))

    def log(self, mark: int = 0) -> str:
        """Return the operator's log since the mark."""
        path = self.process.log
        return path.read_bytes()[mark:].decode() if path.exists() else ""

    def mark(self) -> int:
        """A position in the log."""
        return len(self.log().encode())

    def restart(self) -> None:
        self.process.stop()
        self.process.start()
        self.process.wait_ready()

    @contextmanager
    def without_role(self, namespace: str) -> Iterator[None]:
        """The operator, started while it has no Role in this namespace; afterwards it has one again."""
        self.kube.kubectl("-n", namespace, "delete", "rolebinding", "vllm-operator-servers")
        try:
            self.restart()
            yield
        finally:
            self.lend_rights()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with plane_or_skip() as plane:
        kube = plane.kube()
        for name in (*SERVED, "other"):
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        options = [f"--namespace={name}" for name in SERVED]
        log = plane.folder / "logs" / "operator.log"
        process = OperatorProcess(plane.folder / "operator.kubeconfig", log, options)
        kube.reports.append(process.tail)
        made = Scene(plane, kube, process)
        made.lend_rights()
        try:
            yield made
        finally:
            process.kill()


@pytest.fixture
def running(scene: Scene) -> Scene:
    """The operator is ready, with its CRD and all its Roles; it is started where a test before has ended it."""
    if scene.kube.get("CustomResourceDefinition", CRD) is None:
        install_crd(scene.kube)
    if not scene.process.alive():
        scene.process.start()
    scene.process.wait_ready()
    return scene


def test_namespaced_operator_waits_for_its_crd(scene: Scene) -> None:
    scene.process.stop()
    if scene.kube.get("CustomResourceDefinition", CRD) is not None:
        scene.kube.delete_crd(CRD)
    mark = scene.mark()
    scene.process.start()
    scene.kube.eventually(lambda: "is not installed" in scene.log(mark), within=PROMISED_SECONDS)
    assert not scene.process.answers("/readyz")
    install_crd(scene.kube)
    scene.kube.client.resources.invalidate_cache()
    scene.process.wait_ready()


def test_every_named_namespace_is_served_and_no_other(running: Scene) -> None:
    Servers(running.kube, "other").create("ignored", settled=False)
    for namespace in SERVED:
        servers = running.servers(namespace)
        servers.create("same-name", {"autoscaling": {"maxReplicas": 2}})
        servers.accepted("same-name")
        assert {"Deployment", "Service", "HorizontalPodAutoscaler"} <= set(servers.children("same-name"))
    assert running.servers("other").get("ignored")["status"] == UNJUDGED
    assert running.servers("other").children("ignored") == {}


def test_deleted_child_comes_back_at_once(running: Scene) -> None:
    servers = running.servers(SERVED[1])
    servers.create("robbed")
    uid = servers.child("Service", "robbed")["metadata"]["uid"]
    running.kube.delete("Service", "robbed", servers.namespace)

    def back() -> None:
        assert servers.child("Service", "robbed")["metadata"]["uid"] != uid

    running.kube.eventually(back, within=10)


def test_optional_crds_come_and_go(running: Scene) -> None:
    servers = running.servers(SERVED[0])
    servers.create("watched")
    assert servers.condition("watched", "MonitoringActive")["reason"] == "CRDNotInstalled"
    install_monitoring_crds(running.kube)
    running.kube.eventually(lambda: set(OPTIONAL_KINDS) <= set(servers.children("watched")), within=PROMISED_SECONDS)

    running.kube.delete("PodMonitor", "watched", servers.namespace)
    running.kube.eventually(lambda: servers.find_child("PodMonitor", "watched") is not None, within=PROMISED_SECONDS)

    remove_monitoring_crds(running.kube)

    def is_reported() -> None:
        assert servers.condition("watched", "MonitoringActive").get("reason") == "CRDNotInstalled"

    running.kube.eventually(is_reported, within=PROMISED_SECONDS)
    assert running.process.alive()


def test_no_request_is_denied_or_leaves_the_served_namespaces(running: Scene) -> None:
    mark = running.plane.audit.mark()
    running.restart()
    for namespace in SERVED:
        servers = running.servers(namespace)
        servers.create("asking", {"replicas": 2, "cache": {"size": "1Gi"}})
        servers.accepted("asking")
        running.kube.delete("Service", "asking", namespace)
        running.kube.eventually(lambda found=servers: found.find_child("Service", "asking") is not None, within=10)
    asked = rights.requests(running.plane.audit, mark)
    assert asked
    assert rights.denied(asked) == []
    # Discovery has no resource; everyone may ask for it.
    assert {request.namespace for request in asked if request.resource} == set(SERVED)


def test_namespace_without_its_role_is_named_and_the_others_are_served(running: Scene) -> None:
    closed, served = SERVED
    mark = running.mark()
    with running.without_role(closed):
        assert f"namespace {closed} is not served until its Role and RoleBinding are there" in running.log(mark)
        running.servers(served).create("beside")
        running.servers(served).accepted("beside")
    running.restart()


def test_operator_restarts_when_a_role_appears(running: Scene) -> None:
    closed = SERVED[0]
    mark = running.mark()
    with running.without_role(closed):
        running.servers(closed).create("waiting", settled=False)
    running.kube.eventually(lambda: not running.process.alive(), within=PROMISED_SECONDS)
    assert f"namespace {closed} can be served now" in running.log(mark)
    running.process.start()
    running.process.wait_ready()
    running.servers(closed).accepted("waiting")


def test_crd_may_go_and_return(running: Scene) -> None:
    servers = running.servers(SERVED[0])
    servers.create("before")
    running.kube.delete_crd(CRD)
    install_crd(running.kube)
    running.kube.client.resources.invalidate_cache()
    servers.create("again", settled=False)
    servers.accepted("again", within=PROMISED_SECONDS)
    assert running.process.alive()
