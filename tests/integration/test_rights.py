"""The shipped roles hold every right that the operator needs, and none that it does not use: by the audit log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from kubernetes.dynamic.exceptions import NotFoundError

from tests.helpers.alone import install_crd, plane_or_skip
from tests.integration.replica import fake_replica
from tests.integration.servers import CHILD_KINDS, OPTIONAL_KINDS, Servers, child_name
from tests.integration.stalled_replica import give_address, restarted_for_a_stalled_engine, stalled_replica
from tools.harness import rights
from tools.harness.control_plane import Plane
from tools.harness.crds import install_keda_crd, install_monitoring_crds
from tools.harness.fake_fleet import offer_metrics_api, wait_until_served
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess
from tools.harness.rights import SYSTEM, Right
from vllm_operator.install.manifests import RightsOptions, operator_manifests
from vllm_operator.kube import kinds

KINDS = (*CHILD_KINDS, *OPTIONAL_KINDS)
EVERYTHING: Object = {
    "model": {"uri": "hf://tiny-org/tiny", "tokenSecretRef": {"name": "hub"}},
    "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"], "retain": False},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}
RELEASED = {"vllm-operator.dev/allow-reference": "true"}
LOOPBACK = "127.0.0.78"
"""An address of the loopback interface that nobody else uses: here a pod's."""
BUSY_ADDRESS, IDLE_ADDRESS = "127.0.0.91", "127.0.0.92"
BUSY = 'process_open_fds 30.0\nvllm:num_requests_running{engine="0"} 3.0\n'
SERVED = "rights"
WITHIN = 30
NAMESPACE_SECONDS = 6
"""The operator reads the labels of a namespace again after 5 s."""
PERMANENT = {"Deployment", "Service"}
"""Kinds that every server has, so that the operator has no right to delete one."""

INSTALLATIONS = {
    "cluster-wide": operator_manifests("none", SYSTEM),
    "namespaced": operator_manifests("none", SYSTEM, [SERVED]),
}


@dataclass(frozen=True)
class Scene:
    """An operator with the shipped rights, which leads by its Lease, and a server with a child of every kind."""

    plane: Plane
    servers: Servers
    process: OperatorProcess
    granted: set[Right]

    @property
    def kube(self) -> Kube:
        return self.servers.kube

    @property
    def serves_metrics(self) -> bool:
        """An operator of single namespaces serves no metrics API."""
        return any(right.resource == "apiservices" for right in self.granted)


@pytest.fixture(scope="module", params=INSTALLATIONS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with plane_or_skip() as plane:
        kube = plane.kube()
        install_crd(kube)
        install_monitoring_crds(kube)
        install_keda_crd(kube)
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SERVED}})
        manifests = INSTALLATIONS[request.param]
        options = ["--leader-elect", "--lease-namespace", SYSTEM]
        options += RightsOptions().arguments
        if request.param == "namespaced":
            options += ["--namespace", SERVED]
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig", manifests)
        if request.param != "namespaced":
            options += offer_metrics_api(kube, SYSTEM, rights.NAME)
        process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", options)
        kube.reports.append(process.tail)
        process.start()
        try:
            process.wait_ready()
            yield Scene(plane, with_everything(Servers(kube, SERVED)), process, rights.granted(manifests))
        finally:
            process.kill()


def with_everything(servers: Servers) -> Servers:
    """Create the server `full` and what it refers to."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub", "labels": RELEASED},
        "stringData": {"token": "x"},
    }
    servers.kube.create(secret, servers.namespace)
    servers.create("full", EVERYTHING)
    servers.kube.eventually(lambda: set(servers.children("full")) == set(KINDS), within=15)
    return servers


def test_deleted_children_come_back(scene: Scene) -> None:
    former = {kind: child["metadata"]["uid"] for kind, child in scene.servers.children("full").items()}
    assert set(former) == set(KINDS)
    for kind in KINDS:
        scene.kube.delete(kind, child_name(kind, "full"), scene.servers.namespace)
    # A claim that pods mount waits for them.
    with contextlib.suppress(NotFoundError):
        patch = {"metadata": {"finalizers": None}}
        scene.kube.patch("PersistentVolumeClaim", "full-cache", scene.servers.namespace, patch)

    def back() -> None:
        now = {kind: child["metadata"]["uid"] for kind, child in scene.servers.children("full").items()}
        assert set(now) == set(KINDS)
        assert [kind for kind in KINDS if now[kind] == former[kind]] == []

    scene.kube.eventually(back, within=WITHIN)


def test_edited_children_are_repaired_and_children_without_a_spec_field_pruned(scene: Scene) -> None:
    """Such as what a former release gave another name."""
    for kind, child in scene.servers.children("full").items():
        patch = {"metadata": {"labels": {"app.kubernetes.io/part-of": "edited"}}}
        scene.kube.patch(kind, child_name(kind, "full"), scene.servers.namespace, patch)
        if kind not in PERMANENT:
            scene.kube.create(copy_of(child), scene.servers.namespace)

    def mended() -> None:
        children = scene.servers.children("full").values()
        assert {child["metadata"]["labels"]["app.kubernetes.io/part-of"] for child in children} == {"vllm-operator"}
        prunable = [kind for kind in KINDS if kind not in PERMANENT]
        former = [scene.kube.get(kind, "former", scene.servers.namespace) for kind in prunable]
        assert [body for body in former if body and not body["metadata"].get("deletionTimestamp")] == []

    scene.kube.eventually(mended, within=WITHIN)


def test_objects_of_others_are_read_and_left_alone(scene: Scene) -> None:
    for kind, child in scene.servers.children("full").items():
        stranger = copy_of(child)
        stranger["metadata"] = {"name": child_name(kind, "taken")}
        scene.kube.create(stranger, scene.servers.namespace)
    mark = scene.plane.audit.mark()
    scene.servers.create("taken", EVERYTHING)
    scene.servers.refused("taken")

    def read() -> None:
        asked = rights.requests(scene.plane.audit, mark)
        found = {request.resource for request in asked if (request.verb, request.code) == ("get", 200)}
        assert {kinds.CHILD_KINDS[kind].plural for kind in KINDS} <= found

    scene.kube.eventually(read, within=WITHIN)
    owned = [child for child in scene.servers.children("taken").values() if "ownerReferences" in child["metadata"]]
    assert owned == []


def copy_of(child: Object) -> Object:
    """A child under a name that the plan does not know."""
    kept = {name: child["metadata"][name] for name in ("labels", "annotations", "ownerReferences")}
    spec = {name: value for name, value in child["spec"].items() if name not in {"clusterIP", "clusterIPs"}}
    kind = {name: child[name] for name in ("apiVersion", "kind")}
    return {**kind, "metadata": {"name": "former", **kept}, "spec": spec}


def test_pod_template_is_refused_until_the_namespace_is_labelled(scene: Scene) -> None:
    label = "vllm-operator.dev/pod-template"
    scene.servers.create("claims", {"podTemplate": {"spec": {"hostNetwork": True}}})
    scene.servers.refused("claims", "spec.podTemplate.spec.hostNetwork", label, reason="PodTemplateRestricted")
    assert scene.servers.find_child("Deployment", "claims") is None
    scene.kube.kubectl("label", "namespace", SERVED, f"{label}=free")
    try:
        scene.servers.accepted("claims", within=WITHIN)
    finally:
        scene.kube.kubectl("label", "namespace", SERVED, f"{label}-")
    time.sleep(NAMESPACE_SECONDS)
    scene.servers.patch("claims", {"replicas": 2}, settled=False)
    scene.servers.refused("claims", reason="PodTemplateRestricted")
    # A refused server keeps what it has.
    assert scene.servers.child("Deployment", "claims")["spec"]["replicas"] == 1


def test_secret_is_refused_until_it_is_released(scene: Scene) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "payments"}, "stringData": {"card": "x"}}
    scene.kube.create(secret, SERVED)
    scene.servers.create("reader", {"model": {"uri": "org/name", "tokenSecretRef": {"name": "payments"}}})
    accepted = scene.servers.refused("reader", "Secret payments is not released", reason="SecretNotAllowed")
    assert "card" not in accepted["message"]
    scene.kube.patch("Secret", "payments", SERVED, {"metadata": {"labels": RELEASED}})
    accepted = scene.servers.refused("reader", "Secret payments has no key token", reason="SecretKeyNotFound")
    assert "card" not in accepted["message"]


def test_log_of_a_failed_container_is_read(scene: Scene) -> None:
    """No kubelet runs here, so there is none to be had; but the right to read it is checked first."""
    mark, selector = scene.plane.audit.mark(), "app.kubernetes.io/instance=full"
    scene.kube.eventually(lambda: bool(scene.kube.list("Pod", scene.servers.namespace, selector)), within=WITHIN)
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

    scene.kube.eventually(asked, within=WITHIN)


def test_pod_of_a_stalled_engine_is_deleted(scene: Scene) -> None:
    with stalled_replica(LOOPBACK):
        restarted_for_a_stalled_engine(scene.servers, scene.process, "stalled", LOOPBACK)


def test_scale_down_removes_the_replica_with_the_least_to_do(scene: Scene) -> None:
    kube, selector = scene.kube, "app.kubernetes.io/instance=scaled"
    scene.servers.create("scaled", {"replicas": 2, "health": {"probeIntervalSeconds": 1}})
    pods = kube.eventually(
        lambda: found if len(found := kube.list("Pod", SERVED, selector)) == 2 else False, within=WITHIN
    )
    busy, idle = (pod["metadata"]["name"] for pod in pods)
    with fake_replica(BUSY_ADDRESS, metrics=BUSY) as first, fake_replica(IDLE_ADDRESS) as second:
        for pod, address in zip(pods, (BUSY_ADDRESS, IDLE_ADDRESS), strict=True):
            give_address(kube, SERVED, pod, address)
        # The first time for the capacity, the second time for the counters.
        kube.eventually(lambda: min(first.times("/metrics"), second.times("/metrics")) > 1, within=WITHIN)
        scene.servers.patch("scaled", {"replicas": 1}, settled=False)
        kube.eventually(lambda: kube.get("Pod", idle, SERVED) is None, within=WITHIN)
    left = kube.must_get("Pod", busy, SERVED)
    assert "deletionTimestamp" not in left["metadata"]
    assert "controller.kubernetes.io/pod-deletion-cost" not in left["metadata"].get("annotations", {})


def test_repeated_refusal_after_a_restart_counts_in_the_same_event(scene: Scene) -> None:
    refuse(scene, times=1)
    scene.servers.patch("full", {"model": {"tokenSecretRef": {"name": "hub"}}})
    scene.servers.accepted("full")
    assert scene.process.stop() == 0
    scene.process.start()
    scene.process.wait_ready()
    refuse(scene, times=2)


def refuse(scene: Scene, times: int) -> None:
    """Ask for a Secret that is missing, and wait until its event was counted so often."""
    scene.servers.patch("full", {"model": {"tokenSecretRef": {"name": "absent"}}}, settled=False)
    scene.servers.refused("full", "absent")

    def is_reported() -> None:
        events = [event for event in scene.kube.list("Event", SERVED) if "absent" in (event.get("message") or "")]
        assert [event.get("count") for event in events] == [times]

    scene.kube.eventually(is_reported, within=WITHIN)


def test_events_of_a_claim_without_a_volume_are_listed(scene: Scene) -> None:
    """No provisioner runs here, and no scheduler: what that would say of a pod is written by the test."""
    pod = scene.kube.list("Pod", scene.servers.namespace, "app.kubernetes.io/instance=full")[0]
    words = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    held = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    patch = {"status": {"conditions": [held]}}
    scene.kube.patch("Pod", pod["metadata"]["name"], scene.servers.namespace, patch, status=True)

    def is_reported() -> None:
        cache = scene.servers.condition("full", "CacheReady")
        assert cache["reason"] == "FailedBinding", cache
        assert "no storage class is set" in cache["message"]

    scene.kube.eventually(is_reported, within=60)


def test_sleeping_server_is_woken_by_its_annotation(scene: Scene) -> None:
    scene.servers.create("sleepy", {"replicas": 0, "autoscaling": {"minReplicas": 0, "maxReplicas": 2}})
    assert scene.servers.child("Deployment", "sleepy")["spec"]["replicas"] == 0
    assert "--replicas=1" in scene.servers.condition("sleepy", "AutoscalingActive")["message"]
    wake = {"vllm-operator.dev/wake": datetime.now(UTC).isoformat()}
    scene.kube.patch("VLLMServer", "sleepy", SERVED, {"metadata": {"annotations": wake}})

    def is_awake() -> None:
        assert scene.servers.get("sleepy")["spec"]["replicas"] == 1
        assert scene.servers.child("Deployment", "sleepy")["spec"]["replicas"] == 1

    scene.kube.eventually(is_awake, within=WITHIN)


KEDA: Object = {"maxReplicas": 2, "source": "keda", "keda": {"serverAddress": "http://prometheus:9090"}}


def test_scaled_object_is_written_repaired_and_removed(scene: Scene) -> None:
    scene.servers.create("events", {"autoscaling": KEDA})

    def is_as_wanted() -> None:
        found = scene.kube.must_get("ScaledObject", "events", SERVED)
        assert found["spec"]["maxReplicaCount"] == 2

    scene.kube.eventually(is_as_wanted, within=WITHIN)
    scene.kube.patch("ScaledObject", "events", SERVED, {"spec": {"maxReplicaCount": 9}})
    scene.kube.eventually(is_as_wanted, within=WITHIN)
    stranger = copy_of(scene.kube.must_get("ScaledObject", "events", SERVED))
    stranger["metadata"] = {"name": "foreign"}
    scene.kube.create(stranger, SERVED)
    scene.servers.create("foreign", {"autoscaling": KEDA})
    scene.servers.patch("events", {"autoscaling": {"source": "operator", "keda": None}})
    scene.kube.eventually(lambda: scene.kube.get("ScaledObject", "events", SERVED) is None, within=WITHIN)

    def is_named() -> None:
        active = scene.servers.condition("foreign", "AutoscalingActive")
        assert (active["status"], active["reason"]) == ("False", "NameTaken"), active

    scene.kube.eventually(is_named, within=WITHIN)


def test_metrics_api_is_served_and_its_certificate_replaced(scene: Scene) -> None:
    if not scene.serves_metrics:
        pytest.skip("this operator serves no metrics API")
    wait_until_served(scene.kube)
    path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{SERVED}/pods/*/vllm_num_requests"
    refused = scene.kube.kubectl("get", "--raw", path, "--as=stranger", check=False)
    assert "Forbidden" in refused.stderr
    scene.kube.kubectl("get", "--raw", path, "--as=system:serviceaccount:kube-system:horizontal-pod-autoscaler")
    before = scene.kube.must_get("Secret", "vllm-operator-metrics-tls", SYSTEM)["data"]
    scene.kube.patch("Secret", "vllm-operator-metrics-tls", SYSTEM, {"data": {"tls.crt": "anVuaw=="}})
    assert scene.process.stop() == 0
    scene.process.start()
    scene.process.wait_ready()

    def replaced() -> None:
        service = scene.kube.must_get("APIService", "v1beta2.custom.metrics.k8s.io")
        now = scene.kube.must_get("Secret", "vllm-operator-metrics-tls", SYSTEM)["data"]
        assert now["tls.crt"] != before["tls.crt"]
        assert service["spec"]["caBundle"] == now["ca.crt"]

    scene.kube.eventually(replaced, within=WITHIN)
    wait_until_served(scene.kube)


def test_every_shipped_right_is_used_and_nothing_is_denied(scene: Scene) -> None:
    """Last of this file: it judges what the tests before it made the operator do."""
    assert scene.process.stop() == 0
    requests = rights.requests(scene.plane.audit)
    granted, used = scene.granted, rights.used(requests)
    assert rights.denied(requests) == []
    assert {str(right) for right in granted - used} == set()
    assert {str(right) for right in used - granted} == set()
    certificate = {"create", "update"} if scene.serves_metrics else set()
    assert {right.verb for right in used if right.resource == "secrets"} == {"get"} | certificate


@pytest.mark.parametrize("installation", INSTALLATIONS)
def test_no_rule_has_a_star_and_secrets_are_read_by_name(installation: str) -> None:
    manifests = INSTALLATIONS[installation]
    granted = rights.granted(manifests)
    assert [right for right in granted if "*" in "".join(right)] == []
    # A Secret of the operator itself holds the serving certificate of its metrics API.
    shared = [body for body in manifests if body["metadata"]["name"] != "vllm-operator-metrics-api"]
    assert {right.verb for right in rights.granted(shared) if right.resource == "secrets"} == {"get"}
    rules = [rule for body in manifests for rule in body.get("rules", ())]
    assert [rule for rule in rules if "nonResourceURLs" in rule] == []
