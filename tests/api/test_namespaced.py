"""An operator with Roles in some namespaces, and no right in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.api.servers import OPTIONAL_KINDS, Servers
from tests.support import rights
from tests.support.control_plane import Plane, control_plane, missing
from tests.support.crds import install_monitoring_crds, remove_monitoring_crds
from tests.support.kube import KIND, Kube
from tests.support.operator_process import OperatorProcess
from tests.support.rights import SYSTEM
from vllm_operator.api.crd import crd
from vllm_operator.render.deploy import deploy_manifests

SERVED = ("team-a", "team-b")
PROMISED_SECONDS = 60
UNJUDGED = {"observedGeneration": -1}
"""The default of the CRD, for servers that no operator has seen."""


@dataclass(frozen=True)
class Scene:
    """A control plane with the namespaces, and a namespaced operator that is not started yet."""

    plane: Plane
    kube: Kube
    process: OperatorProcess

    def servers(self, namespace: str) -> Servers:
        return Servers(self.kube, namespace)

    def install_crd(self) -> None:
        self.kube.apply(crd(), "--server-side")
        self.kube.wait_for_crds("vllmservers.vllm-operator.dev")

    def log(self) -> str:
        return self.process.log.read_text()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    if reason := missing():
        pytest.skip(reason)
    with control_plane() as plane:
        kube = plane.kube()
        for name in (*SERVED, "other"):
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        manifests = deploy_manifests("none", SYSTEM, SERVED)
        options = [f"--namespace={name}" for name in SERVED]
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig", manifests)
        process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", options)
        kube.reports.append(process.tail)
        try:
            yield Scene(plane, kube, process)
        finally:
            process.kill()


def test_it_waits_for_its_crd_which_it_cannot_watch_for(scene: Scene) -> None:
    scene.process.start()
    scene.kube.eventually(lambda: "is not installed" in scene.log(), within=30)
    assert not scene.process.answers("/readyz")
    scene.install_crd()
    scene.process.wait_ready(60)


def test_every_named_namespace_is_served_and_no_other(scene: Scene) -> None:
    Servers(scene.kube, "other").create("ignored", settled=False)
    for namespace in SERVED:
        servers = scene.servers(namespace)
        servers.create("same-name", {"autoscaling": {"maxReplicas": 2}})
        servers.accepted("same-name")
        assert {"Deployment", "Service", "HorizontalPodAutoscaler"} <= set(servers.children("same-name"))
    assert scene.servers("other").get("ignored")["status"] == UNJUDGED
    assert scene.servers("other").children("ignored") == {}


def test_a_deleted_child_comes_back_at_once(scene: Scene) -> None:
    servers = scene.servers(SERVED[1])
    scene.kube.delete("Service", "same-name", servers.namespace)
    scene.kube.eventually(lambda: servers.find_child("Service", "same-name") is not None, within=10)


def test_optional_crds_come_and_go(scene: Scene) -> None:
    servers = scene.servers(SERVED[0])
    assert servers.condition("same-name", "MonitoringActive")["reason"] == "CRDNotInstalled"
    install_monitoring_crds(scene.kube)
    scene.kube.eventually(lambda: set(OPTIONAL_KINDS) <= set(servers.children("same-name")), within=PROMISED_SECONDS)

    scene.kube.delete("PodMonitor", "same-name", servers.namespace)
    scene.kube.eventually(lambda: servers.find_child("PodMonitor", "same-name") is not None, within=PROMISED_SECONDS)

    remove_monitoring_crds(scene.kube)

    def told() -> None:
        assert servers.condition("same-name", "MonitoringActive").get("reason") == "CRDNotInstalled"

    scene.kube.eventually(told, within=PROMISED_SECONDS)
    assert scene.process.alive()


def test_nothing_was_denied_and_nothing_asked_for_outside(scene: Scene) -> None:
    asked = rights.requests(scene.plane.audit)
    assert asked
    assert rights.denied(asked) == []
    # Discovery has no resource; everyone may ask for it.
    assert {request.namespace for request in asked if request.resource} == set(SERVED)


def test_a_namespace_without_its_role_is_named_and_the_others_are_served(scene: Scene) -> None:
    closed, served = SERVED
    scene.process.stop()
    scene.kube.kubectl("-n", closed, "delete", "rolebinding", "vllm-operator-servers")
    scene.process.start()
    scene.process.wait_ready()
    assert f"namespace {closed} is not served until its Role and RoleBinding are there" in scene.log()
    scene.servers(served).create("beside")
    scene.servers(served).accepted("beside")


def test_it_ends_to_start_afresh_when_the_role_is_there(scene: Scene) -> None:
    closed = SERVED[0]
    rights.lend(scene.kube, scene.process.kubeconfig, deploy_manifests("none", SYSTEM, SERVED))
    scene.kube.eventually(lambda: not scene.process.alive(), within=60)
    assert f"namespace {closed} can be served now" in scene.log()
    scene.process.start()
    scene.process.wait_ready()
    scene.servers(closed).patch("same-name", {"replicas": 1})


def test_its_crd_may_go_and_return(scene: Scene) -> None:
    scene.kube.delete("CustomResourceDefinition", "vllmservers.vllm-operator.dev")
    scene.kube.eventually(lambda: scene.kube.get(KIND, "ignored", "other") is None, within=30)
    scene.install_crd()
    scene.servers(SERVED[0]).create("again", settled=False)
    scene.servers(SERVED[0]).accepted("again", within=PROMISED_SECONDS)
    assert scene.process.alive()
