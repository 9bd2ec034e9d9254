"""Children that someone deletes or edits come back within two seconds; strangers of the same name are left alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.servers import CHILD_KINDS, OPTIONAL_KINDS, Servers, child_name, vllm_container
from tools.harness.audit import AuditLog
from tools.harness.kube import Object, essence
from vllm_operator.kube import kinds
from vllm_operator.kube.managed_fields import foreign_entries

HELD = [f"held-{number}" for number in range(5)]
EDITS_OF_ONE = 6
ALL_KINDS = (*CHILD_KINDS, *OPTIONAL_KINDS)
EVERYTHING: Object = {
    "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
    "service": {"annotations": {"team": "ml"}},
}
PROMISED_SECONDS = 2.0

Edit = Callable[[Object], None]


@pytest.fixture(scope="module")
def held(shared_servers: Servers) -> Servers:
    """Servers with a child of every kind. Several, since an object that is changed all the time is repaired rarely."""
    for name in HELD:
        shared_servers.create(name, EVERYTHING, settled=False)
    for name in HELD:
        shared_servers.kube.eventually(
            lambda name=name: set(shared_servers.children(name)) == set(ALL_KINDS), within=20
        )
    return shared_servers


def comes_back(servers: Servers, kind: str, name: str, former: Object) -> None:
    """Wait until the child equals the former one."""

    def check() -> None:
        now = servers.find_child(kind, name)
        assert now is not None, f"the {kind} is gone"
        assert ours(now) == former

    servers.kube.eventually(check, within=PROMISED_SECONDS, namespace=servers.namespace)


def ours(body: Object) -> Object:
    """An object without what the API server, and the autoscaler for a Deployment, write into it."""
    result = essence(body)
    if body["kind"] == "Deployment":
        result["spec"].pop("replicas")
    return result


@pytest.mark.parametrize("kind", [kind for kind in (*CHILD_KINDS, *OPTIONAL_KINDS) if "Claim" not in kind])
def test_deleted_child_comes_back_within_two_seconds(held: Servers, kind: str) -> None:
    before = held.child(kind, HELD[0])
    held.kube.delete(kind, HELD[0], held.namespace)

    def check() -> None:
        now = held.find_child(kind, HELD[0])
        assert now is not None, f"the {kind} is gone"
        assert now["metadata"]["uid"] != before["metadata"]["uid"], "it has not even gone yet"
        assert without_assigned(essence(now)) == without_assigned(essence(before))

    held.kube.eventually(check, within=PROMISED_SECONDS, namespace=held.namespace)


def without_assigned(body: Object) -> Object:
    """Return a child without what the API server assigns again (addresses) and what the autoscaler owns (replicas)."""
    spec = {key: value for key, value in body["spec"].items() if key not in ("clusterIP", "clusterIPs", "replicas")}
    return {**body, "spec": spec}


def test_deleted_claim_comes_back_when_kubernetes_lets_it_go(servers: Servers) -> None:
    servers.create("claimed", {"cache": {"size": "1Gi"}, "replicas": 0})
    before = servers.child("PersistentVolumeClaim", "claimed")
    servers.kube.delete("PersistentVolumeClaim", "claimed-cache", servers.namespace)

    def check() -> None:
        now = servers.child("PersistentVolumeClaim", "claimed")
        assert now["metadata"]["uid"] != before["metadata"]["uid"]
        assert essence(now)["spec"] == essence(before)["spec"]

    # Only the protection controller of Kubernetes takes its time here.
    servers.kube.eventually(check, within=10, namespace=servers.namespace)


def reach(body: Object, path: str) -> tuple[Any, Any]:
    """The container of a place and its key or position; `~` stands for a slash in a label's name."""
    place: Any = body
    *steps, last = (step.replace("~", "/") for step in path.split("/"))
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    return place, int(last) if isinstance(place, list) else last


def setting(path: str, value: Any) -> Edit:
    """An edit that sets one place."""

    def edit(body: Object) -> None:
        place, key = reach(body, path)
        place[key] = value

    return edit


def adding(path: str, item: Any) -> Edit:
    """An edit that appends an item to a list."""

    def edit(body: Object) -> None:
        place, key = reach(body, path)
        place.setdefault(key, []).append(item)

    return edit


def dropping(path: str) -> Edit:
    """An edit that removes one place."""

    def edit(body: Object) -> None:
        place, key = reach(body, path)
        del place[key]

    return edit


CONTAINER = "spec/template/spec/containers/0"
MANAGED_BY = "metadata/labels/app.kubernetes.io~managed-by"
INSTANCE = "metadata/labels/app.kubernetes.io~instance"
EDITS: list[tuple[str, str, Edit]] = [
    ("Deployment", "image changed", setting(f"{CONTAINER}/image", "evil:1")),
    ("Deployment", "argument changed", setting(f"{CONTAINER}/args/1", "other/model")),
    ("Deployment", "argument added", adding(f"{CONTAINER}/args", "--disable-everything")),
    ("Deployment", "arguments removed", dropping(f"{CONTAINER}/args")),
    ("Deployment", "variable changed", setting(f"{CONTAINER}/env/0/value", "/root")),
    ("Deployment", "variable removed", dropping(f"{CONTAINER}/env/0")),
    ("Deployment", "probe relaxed", setting(f"{CONTAINER}/livenessProbe/failureThreshold", 99)),
    ("Deployment", "probe removed", dropping(f"{CONTAINER}/startupProbe")),
    ("Deployment", "resources changed", setting(f"{CONTAINER}/resources/limits/memory", "1Gi")),
    ("Deployment", "security weakened", setting(f"{CONTAINER}/securityContext/allowPrivilegeEscalation", True)),
    ("Deployment", "volume removed", dropping("spec/template/spec/volumes/1/emptyDir/sizeLimit")),
    ("Deployment", "grace period changed", setting("spec/template/spec/terminationGracePeriodSeconds", 9)),
    ("Deployment", "service links on", setting("spec/template/spec/enableServiceLinks", True)),
    ("Deployment", "service links removed", dropping("spec/template/spec/enableServiceLinks")),
    ("Deployment", "account token removed", dropping("spec/template/spec/automountServiceAccountToken")),
    ("Deployment", "toleration removed", dropping("spec/template/spec/tolerations")),
    ("Deployment", "strategy changed", setting("spec/strategy", {"type": "Recreate"})),
    ("Deployment", "deadline changed", setting("spec/progressDeadlineSeconds", 30)),
    ("Deployment", "pod label changed", setting("spec/template/metadata/labels/app.kubernetes.io~part-of", "x")),
    ("Deployment", "owner removed", dropping("metadata/ownerReferences")),
    ("Deployment", "part-of label removed", dropping("metadata/labels/app.kubernetes.io~part-of")),
    ("Deployment", "managed-by label removed", dropping(MANAGED_BY)),
    ("Deployment", "all labels removed", dropping("metadata/labels")),
    ("Deployment", "container added", adding("spec/template/spec/containers", {"name": "side", "image": "s:1"})),
    ("Deployment", "variable added", adding(f"{CONTAINER}/env", {"name": "ADDED", "value": "1"})),
    ("Deployment", "volume added", adding("spec/template/spec/volumes", {"name": "more", "emptyDir": {}})),
    ("Service", "port changed", setting("spec/ports/0/port", 8081)),
    ("Service", "port added", adding("spec/ports", {"name": "extra", "port": 9, "targetPort": 9, "protocol": "TCP"})),
    ("Service", "target changed", setting("spec/ports/0/targetPort", 9000)),
    ("Service", "selector extended", setting("spec/selector/version", "2")),
    ("Service", "type changed", setting("spec/type", "NodePort")),
    ("Service", "annotation changed", setting("metadata/annotations/team", "evil")),
    ("Service", "managed-by label removed", dropping(MANAGED_BY)),
    ("HorizontalPodAutoscaler", "bounds changed", setting("spec/maxReplicas", 100)),
    ("HorizontalPodAutoscaler", "target changed", setting("spec/metrics/0/pods/target/averageValue", "1")),
    ("HorizontalPodAutoscaler", "behaviour changed", setting("spec/behavior/scaleDown/stabilizationWindowSeconds", 0)),
    ("HorizontalPodAutoscaler", "managed-by label removed", dropping(MANAGED_BY)),
    ("PodDisruptionBudget", "budget changed", setting("spec/maxUnavailable", 0)),
    ("PodDisruptionBudget", "managed-by label removed", dropping(MANAGED_BY)),
    ("PersistentVolumeClaim", "managed-by label removed", dropping(MANAGED_BY)),
    ("PersistentVolumeClaim", "annotations removed", dropping("metadata/annotations")),
    ("PersistentVolumeClaim", "all labels removed", dropping("metadata/labels")),
    ("PersistentVolumeClaim", "instance label changed", setting(INSTANCE, "other")),
    ("Deployment", "instance label removed", dropping(INSTANCE)),
    ("Service", "instance label changed", setting(INSTANCE, "other")),
    ("PodDisruptionBudget", "instance label removed", dropping(INSTANCE)),
    ("HorizontalPodAutoscaler", "instance label changed", setting(INSTANCE, "other")),
    ("PodMonitor", "instance label changed", setting(INSTANCE, "other")),
    ("PodMonitor", "endpoint changed", setting("spec/podMetricsEndpoints/0/path", "/nothing")),
    ("PodMonitor", "selector changed", setting("spec/selector/matchLabels/app.kubernetes.io~instance", "x")),
    ("PrometheusRule", "rules removed", setting("spec/groups/0/rules", [])),
    ("PrometheusRule", "managed-by label removed", dropping(MANAGED_BY)),
]


ADDING = frozenset(
    {
        "container added",
        "variable added",
        "volume added",
        "port added",
        "port changed",
        "resources changed",
        "type changed",
    }
)
"""Edits that add what the manifest does not hold, which an apply alone leaves: an item (of which a port's number is the
key), a limit, or the traffic policy that the API server gives to another type of Service."""


@pytest.mark.parametrize("position", range(len(EDITS)), ids=[f"{kind}: {what}" for kind, what, _ in EDITS])
def test_edited_child_comes_back_within_two_seconds(held: Servers, audit: AuditLog, position: int) -> None:
    kind, what, edit = EDITS[position]
    name = HELD[position // EDITS_OF_ONE % len(HELD)]
    former, mark = ours(held.child(kind, name)), audit.mark()
    written = held.kube.replace(kind, child_name(kind, name), held.namespace, edit)
    assert ours(written) != former, f"{what}: the edit changed nothing"
    comes_back(held, kind, name, former)
    held.kube.eventually(lambda: not foreign_entries(held.child(kind, name)), within=PROMISED_SECONDS)
    target = f"{kinds.CHILD_KINDS[kind].plural}/{child_name(kind, name)}"
    writes = audit.writes(mark, namespace=held.namespace)
    made = [write for write in writes if write.target == target and write.code < 300]
    assert len(made) == (1 if what not in ADDING else 2), f"{what}: {[write.uri for write in made]}"


def test_child_that_lost_its_labels_is_watched_again_afterwards(held: Servers) -> None:
    """The watch reported it as deleted. No pod is concerned, whose events would enqueue the server."""
    former = ours(held.child("Service", HELD[1]))
    for edit in (dropping("metadata/labels"), setting("spec/ports/0/port", 8081)):
        written = held.kube.replace("Service", HELD[1], held.namespace, edit)
        assert ours(written) != former, "the edit changed nothing"
        comes_back(held, "Service", HELD[1], former)


def test_claim_restored_with_its_volume_is_used(servers: Servers) -> None:
    """Whoever restores a claim writes the volume that it was bound to, and nobody may remove it."""
    servers.create("restored", {"cache": {"size": "1Gi"}})
    servers.kube.patch("PersistentVolumeClaim", "restored-cache", servers.namespace, {"spec": {"volumeName": "pv-1"}})
    servers.patch("restored", {"cache": {"size": "1Gi", "retain": False}})
    claim = servers.child("PersistentVolumeClaim", "restored")
    assert servers.condition("restored")["status"] == "True"
    assert claim["spec"]["volumeName"] == "pv-1"
    assert claim["metadata"]["ownerReferences"]


def test_labels_and_annotations_that_others_add_stay(held: Servers) -> None:
    added = {"metadata": {"annotations": {"example.com/note": "mine"}, "labels": {"example.com/team": "ml"}}}
    held.kube.patch("Service", HELD[-1], held.namespace, added)
    time.sleep(1)
    metadata = held.child("Service", HELD[-1])["metadata"]
    assert metadata["annotations"]["example.com/note"] == "mine"
    assert metadata["labels"]["example.com/team"] == "ml"


def test_replicas_that_someone_edits_are_put_back(servers: Servers) -> None:
    servers.create("counted", {"replicas": 2})
    servers.kube.patch("Deployment", "counted", servers.namespace, {"spec": {"replicas": 7}})
    servers.kube.eventually(
        lambda: servers.child("Deployment", "counted")["spec"]["replicas"] == 2,
        within=PROMISED_SECONDS,
        namespace=servers.namespace,
    )


def test_replicas_belong_to_the_autoscaler_while_it_is_on(servers: Servers) -> None:
    servers.create("scaled", {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}})
    servers.kube.patch("Deployment", "scaled", servers.namespace, {"spec": {"replicas": 5}})
    servers.patch("scaled", {"engine": {"maxModelLen": 1024}})
    deployment = servers.child("Deployment", "scaled")
    assert "--max-model-len" in vllm_container(deployment)["args"]
    assert deployment["spec"]["replicas"] == 5
    managers = [entry for entry in deployment["metadata"]["managedFields"] if entry["manager"] == "vllm-operator"]
    assert ["f:replicas" in entry["fieldsV1"].get("f:spec", {}) for entry in managers] == [False]


def test_autoscaled_server_that_someone_scales_to_zero_is_scaled_up(servers: Servers) -> None:
    """Kubernetes' autoscaler leaves a target alone that has no replica."""
    servers.create("stopped", {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}})
    servers.kube.kubectl("scale", "deployment/stopped", "--replicas=0", "-n", servers.namespace)
    servers.kube.eventually(
        lambda: servers.child("Deployment", "stopped")["spec"]["replicas"] > 0,
        within=PROMISED_SECONDS,
        namespace=servers.namespace,
    )


def test_rollout_pause_is_undone_and_a_restart_before_it_stays(servers: Servers) -> None:
    servers.create("restarted")
    for command in ("restart", "pause"):
        servers.kube.kubectl("rollout", command, "deployment/restarted", "-n", servers.namespace)
    servers.kube.eventually(
        lambda: not servers.child("Deployment", "restarted")["spec"].get("paused"),
        within=PROMISED_SECONDS,
        namespace=servers.namespace,
    )
    annotations = servers.child("Deployment", "restarted")["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def stranger(kind: str, name: str) -> Object:
    """An object of this kind and name that is not the operator's."""
    selector = {"matchLabels": {"app": "other"}}
    pod = {"containers": [{"name": "c", "image": "other:1"}]}
    template = {"metadata": {"labels": {"app": "other"}}, "spec": pod}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kinds: dict[str, tuple[str, Object]] = {
        "Deployment": ("apps/v1", {"selector": selector, "template": template}),
        "Service": ("v1", {"selector": {"app": "other"}, "ports": [{"port": 1234}]}),
        "PersistentVolumeClaim": ("v1", claim),
        "HorizontalPodAutoscaler": ("autoscaling/v2", {"scaleTargetRef": target, "maxReplicas": 3}),
        "PodDisruptionBudget": ("policy/v1", {"selector": selector, "maxUnavailable": 1}),
        "PodMonitor": ("monitoring.coreos.com/v1", {"selector": selector, "podMetricsEndpoints": []}),
        "PrometheusRule": ("monitoring.coreos.com/v1", {"groups": []}),
    }
    version, spec = kinds[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def crowded(shared_servers: Servers) -> Servers:
    """For each kind a server whose child of that kind is there already, and not its own."""
    for kind in ALL_KINDS:
        shared_servers.kube.create(stranger(kind, child_name(kind, crowded_by(kind))), shared_servers.namespace)
        shared_servers.create(crowded_by(kind), EVERYTHING, settled=False)
    return shared_servers


def crowded_by(kind: str) -> str:
    return f"crowded-{kind.lower()}"


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_object_of_another_owner_is_left_alone_and_named(crowded: Servers, kind: str) -> None:
    name = child_name(kind, crowded_by(kind))
    if kind in OPTIONAL_KINDS:
        crowded.unmonitored(crowded_by(kind), kind, name, reason="NameTaken")
        crowded.accepted(crowded_by(kind))
    else:
        crowded.refused(crowded_by(kind), kind, name, reason="NameTaken")
    left = essence(crowded.kube.must_get(kind, name, crowded.namespace))
    sent = crowded.kube.create({**stranger(kind, f"{name}-twin")}, crowded.namespace)
    assert set(left["metadata"]) == {"name", "namespace"} | set(essence(sent)["metadata"]) & {"finalizers"}
    assert without_assigned(left)["spec"] == without_assigned(essence(sent))["spec"]


def test_server_gets_its_children_once_the_objects_of_others_are_gone(crowded: Servers) -> None:
    for kind in ALL_KINDS:
        crowded.kube.delete(kind, child_name(kind, crowded_by(kind)), crowded.namespace)
    for kind in ALL_KINDS:
        crowded.accepted(crowded_by(kind), within=40)
        crowded.kube.eventually(
            lambda kind=kind: kind in crowded.children(crowded_by(kind)), within=40, namespace=crowded.namespace
        )
        labels = crowded.child(kind, crowded_by(kind))["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "vllm-operator"


def test_deleting_a_server_leaves_the_object_of_another_owner(servers: Servers) -> None:
    servers.kube.create(stranger("Service", "guest"), servers.namespace)
    servers.create("guest")
    servers.refused("guest", reason="NameTaken")
    servers.kube.delete("VLLMServer", "guest", servers.namespace)
    time.sleep(1)
    assert servers.kube.get("Service", "guest", servers.namespace) is not None
