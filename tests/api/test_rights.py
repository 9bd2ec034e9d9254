"""The shipped roles hold every right that the operator needs, and none that it does not use: by the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.api.frozen import frozen_replica, restarted_for_a_frozen_engine
from tests.api.servers import CHILD_KINDS, OPTIONAL_KINDS, Servers, child_name
from tests.support import rights
from tests.support.control_plane import Plane, control_plane, missing
from tests.support.crds import install_monitoring_crds
from tests.support.kube import Kube, Object
from tests.support.operator_process import OperatorProcess
from tests.support.rights import SYSTEM, Right
from vllm_operator.api.crd import crd
from vllm_operator.render.deploy import deploy_manifests

KINDS = (*CHILD_KINDS, *OPTIONAL_KINDS)
EVERYTHING: Object = {
    "model": {"uri": "hf://tiny-org/tiny", "tokenSecretRef": {"name": "hub"}},
    "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"], "retain": False},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}
LOOPBACK = "127.0.0.78"
"""An address of the loopback interface that nobody else uses: here a pod's."""
MANIFESTS = deploy_manifests("none", SYSTEM)


@dataclass(frozen=True)
class Scene:
    """An operator with the shipped rights, which leads by its Lease, and a server with a child of every kind."""

    plane: Plane
    servers: Servers
    process: OperatorProcess

    @property
    def kube(self) -> Kube:
        return self.servers.kube


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    if reason := missing():
        pytest.skip(reason)
    with control_plane() as plane:
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        install_monitoring_crds(kube)
        options = ["--leader-elect", "--lease-namespace", SYSTEM]
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig", MANIFESTS)
        process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", options)
        kube.reports.append(process.tail)
        process.start()
        try:
            process.wait_ready()
            with kube.namespace("rights") as namespace:
                yield Scene(plane, with_everything(Servers(kube, namespace)), process)
        finally:
            process.kill()


def with_everything(servers: Servers) -> Servers:
    """Create the server `full` and what it refers to."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"token": "x"}}
    servers.kube.create(secret, servers.namespace)
    servers.create("full", EVERYTHING)
    servers.kube.eventually(lambda: set(servers.children("full")) == set(KINDS), within=15)
    return servers


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_child_comes_back(scene: Scene, kind: str) -> None:
    former = scene.servers.child(kind, "full")["metadata"]["uid"]
    scene.kube.delete(kind, child_name(kind, "full"), scene.servers.namespace)
    # A claim that pods mount waits for them.
    clear_finalizers(scene, kind)

    def back() -> None:
        found = scene.servers.find_child(kind, "full")
        assert found is not None
        assert found["metadata"]["uid"] != former

    scene.kube.eventually(back, within=20)


def clear_finalizers(scene: Scene, kind: str) -> None:
    """Let an object go that its controllers still hold."""
    name = child_name(kind, "full")
    if (scene.servers.find_child(kind, "full") or {}).get("metadata", {}).get("deletionTimestamp"):
        scene.kube.patch(kind, name, scene.servers.namespace, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_child_is_mended(scene: Scene, kind: str) -> None:
    patch = {"metadata": {"labels": {"app.kubernetes.io/part-of": "edited"}}}
    scene.kube.patch(kind, child_name(kind, "full"), scene.servers.namespace, patch)
    scene.kube.eventually(lambda: part_of(scene, kind) == "vllm-operator", within=20)


def part_of(scene: Scene, kind: str) -> str:
    return str(scene.servers.child(kind, "full")["metadata"]["labels"]["app.kubernetes.io/part-of"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_the_spec_does_not_name_is_deleted(scene: Scene, kind: str) -> None:
    """Such as what a former release gave another name."""
    live = scene.servers.child(kind, "full")
    kept = {name: live["metadata"][name] for name in ("labels", "annotations", "ownerReferences")}
    spec = {name: value for name, value in live["spec"].items() if name not in {"clusterIP", "clusterIPs"}}
    body = {"apiVersion": live["apiVersion"], "kind": kind, "metadata": {"name": "former", **kept}, "spec": spec}
    scene.kube.create(body, scene.servers.namespace)

    def gone() -> None:
        found = scene.kube.get(kind, "former", scene.servers.namespace)
        assert found is None or found["metadata"].get("deletionTimestamp")

    scene.kube.eventually(gone, within=20)


def test_the_log_of_a_dead_container_is_asked_for(scene: Scene) -> None:
    """No kubelet runs here, so there is none to be had; but the right to read it is checked first."""
    mark, selector = scene.plane.audit.mark(), "app.kubernetes.io/instance=full"
    scene.kube.eventually(lambda: bool(scene.kube.list("Pod", scene.servers.namespace, selector)), within=20)
    pod = scene.kube.list("Pod", scene.servers.namespace, selector)[0]
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "finishedAt": "2026-01-01T00:00:00Z",
        "startedAt": "2026-01-01T00:00:00Z",
    }
    status = {
        "name": "vllm", "ready": False, "restartCount": 1, "image": "vllm", "imageID": "",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended},
    }  # fmt: skip
    patch = {"status": {"phase": "Running", "containerStatuses": [status]}}
    scene.kube.patch("Pod", pod["metadata"]["name"], scene.servers.namespace, patch, status=True)

    def asked() -> None:
        assert Right("", "pods/log", "get") in rights.used(rights.requests(scene.plane.audit, mark))

    scene.kube.eventually(asked, within=20)


def test_the_pod_of_a_frozen_engine_is_deleted(scene: Scene) -> None:
    with frozen_replica(LOOPBACK):
        restarted_for_a_frozen_engine(scene.servers, scene.process, "frozen", LOOPBACK)


def test_a_refused_server_gets_an_event(scene: Scene) -> None:
    scene.servers.patch("full", {"model": {"tokenSecretRef": {"name": "absent"}}}, settled=False)
    scene.servers.refused("full", "absent")

    def told() -> None:
        events = scene.kube.list("Event", scene.servers.namespace)
        assert [event for event in events if "absent" in (event.get("message") or "")]

    scene.kube.eventually(told, within=20)


def test_what_happens_again_after_a_restart_is_counted_in_the_event_of_before(scene: Scene) -> None:
    scene.servers.patch("full", {"model": {"tokenSecretRef": {"name": "hub"}}}, settled=False)
    scene.servers.accepted("full", within=20)
    scene.process.stop()
    scene.process.start()
    scene.process.wait_ready()
    scene.servers.patch("full", {"model": {"tokenSecretRef": {"name": "absent"}}}, settled=False)

    def counted() -> None:
        events = scene.kube.list("Event", scene.servers.namespace)
        assert [event["count"] for event in events if "absent" in (event.get("message") or "")] == [2]

    scene.kube.eventually(counted, within=20)


def test_every_shipped_right_is_used_and_nothing_is_denied(scene: Scene) -> None:
    """Last of this file: it judges what the tests before it made the operator do."""
    assert scene.process.stop() == 0
    requests = rights.requests(scene.plane.audit)
    granted, used = rights.granted(MANIFESTS), rights.used(requests)
    assert rights.denied(requests) == []
    assert {str(right) for right in granted - used} == set()
    assert {str(right) for right in used - granted} == set()
    assert {right.verb for right in used if right.resource == "secrets"} == {"get"}


def test_no_rule_has_a_star_and_secrets_are_read_by_name() -> None:
    granted = rights.granted(MANIFESTS)
    assert [right for right in granted if "*" in "".join(right)] == []
    assert {right.verb for right in granted if right.resource == "secrets"} == {"get"}
    rules = [rule for body in MANIFESTS for rule in body.get("rules", ())]
    assert [rule for rule in rules if "nonResourceURLs" in rule] == []
