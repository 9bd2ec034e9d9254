"""Children that the spec no longer asks for are pruned, others are complete, a deleted server leaves nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.servers import CHILD_KINDS, MODEL, OPTIONAL_KINDS, Servers, child_name
from tools.harness.kube import KIND, Object, essence

EVERYTHING: Object = {
    "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}
ALL_KINDS = (*CHILD_KINDS, *OPTIONAL_KINDS)


@pytest.fixture(scope="module")
def full(shared_servers: Servers) -> Servers:
    """A server with a child of every kind."""
    shared_servers.create("full", EVERYTHING)
    shared_servers.kube.eventually(lambda: set(shared_servers.children("full")) == set(ALL_KINDS), within=10)
    return shared_servers


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_child_carries_the_recommended_labels(full: Servers, kind: str) -> None:
    assert full.child(kind, "full")["metadata"]["labels"] == {
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": "full",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/managed-by": "vllm-operator",
        "app.kubernetes.io/part-of": "vllm-operator",
    }


@pytest.mark.parametrize("kind", [kind for kind in ALL_KINDS if "Claim" not in kind])
def test_every_child_belongs_to_its_server(full: Servers, kind: str) -> None:
    uid = full.get("full")["metadata"]["uid"]
    [owner] = full.child(kind, "full")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (KIND, "full", uid, True)


def test_retained_cache_has_no_owner_and_another_has(servers: Servers) -> None:
    servers.create("keeps", {"cache": {"size": "1Gi"}})
    servers.create("drops", {"cache": {"size": "1Gi", "retain": False}})
    assert "ownerReferences" not in servers.child("PersistentVolumeClaim", "keeps")["metadata"]
    owners = servers.child("PersistentVolumeClaim", "drops")["metadata"]["ownerReferences"]
    assert [owner["name"] for owner in owners] == ["drops"]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_live_child_passes_a_dry_run_unchanged(full: Servers, kind: str) -> None:
    name = child_name(kind, "full")
    live = full.child(kind, "full")
    text = json.dumps(essence(live))
    answer = full.kube.kubectl(
        "-n", full.namespace, "apply", "--server-side", "--dry-run=server", "--force-conflicts",
        "--field-manager=someone", "-o", "json", "-f", "-", stdin=text,
    )  # fmt: skip
    assert essence(json.loads(answer.stdout)) == essence(live), name
    assert "Warning" not in answer.stderr


def test_no_server_has_a_finalizer(full: Servers) -> None:
    assert "finalizers" not in full.get("full")["metadata"]


def test_switching_autoscaling_off_removes_the_autoscaler_and_gives_replicas_back(servers: Servers) -> None:
    servers.create("swing", {"replicas": 3, "autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    assert servers.find_child("HorizontalPodAutoscaler", "swing") is not None
    servers.patch("swing", {"autoscaling": None})
    assert servers.find_child("HorizontalPodAutoscaler", "swing") is None
    assert servers.child("Deployment", "swing")["spec"]["replicas"] == 3
    servers.patch("swing", {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    assert servers.find_child("HorizontalPodAutoscaler", "swing") is not None


def test_replicas_do_not_dip_when_autoscaling_is_switched_on(servers: Servers) -> None:
    servers.create("steady", {"replicas": 2})
    mark = servers.child("Deployment", "steady")["metadata"]["resourceVersion"]
    servers.patch("steady", {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    seen = replicas_since(servers, "steady", mark)
    assert servers.find_child("HorizontalPodAutoscaler", "steady") is not None
    assert set(seen) <= {2}, f"replicas went through {seen}"
    assert servers.child("Deployment", "steady")["spec"]["replicas"] == 2


def replicas_since(servers: Servers, name: str, version: str) -> list[int]:
    """`spec.replicas` of a Deployment in every state since `version`, those in between too."""
    events = servers.kube.resource("Deployment").watch(
        namespace=servers.namespace, name=name, resource_version=version, timeout=2
    )
    return [event["object"]["spec"].get("replicas", 1) for event in events]


@pytest.mark.parametrize(
    ("spec", "exists"),
    [
        ({"replicas": 0}, False),
        ({"replicas": 1}, False),
        ({"replicas": 2}, True),
        ({"autoscaling": {"maxReplicas": 1}}, False),
        ({"autoscaling": {"maxReplicas": 2}}, True),
    ],
    ids=["none", "one", "two", "at most one", "up to two"],
)
def test_disruption_budget_exists_only_for_several_possible_replicas(
    shared_servers: Servers, spec: Object, exists: bool
) -> None:
    name = f"budget-{len(shared_servers.kube.list(KIND, shared_servers.namespace))}"
    shared_servers.create(name, spec)
    assert (shared_servers.find_child("PodDisruptionBudget", name) is not None) is exists


def test_going_down_to_one_replica_removes_the_disruption_budget(servers: Servers) -> None:
    servers.create("shrinks", {"replicas": 2})
    servers.patch("shrinks", {"replicas": 1})
    assert servers.find_child("PodDisruptionBudget", "shrinks") is None


def test_removed_cache_keeps_a_retained_claim_and_deletes_another(servers: Servers) -> None:
    for name, retain in (("keeps", True), ("drops", False)):
        servers.create(name, {"replicas": 0, "cache": {"size": "1Gi", "retain": retain}})
        servers.patch(name, {"cache": None})
        volumes = servers.child("Deployment", name)["spec"]["template"]["spec"]["volumes"]
        assert {"name": "model-cache", "emptyDir": {}} in volumes
    gone(servers, "PersistentVolumeClaim", "drops-cache")
    assert servers.kube.get("PersistentVolumeClaim", "keeps-cache", servers.namespace) is not None


def gone(servers: Servers, kind: str, name: str) -> None:
    """Wait until an object is not there any more, not even waiting for its finalizers."""
    servers.kube.eventually(
        lambda: servers.kube.get(kind, name, servers.namespace) is None, within=15, namespace=servers.namespace
    )


@pytest.mark.parametrize("retain", [True, False])
def test_deleting_a_server_leaves_nothing_but_a_retained_claim(servers: Servers, retain: bool) -> None:
    spec: dict[str, Any] = {**EVERYTHING, "cache": {**EVERYTHING["cache"], "retain": retain}}
    servers.create("leaves", spec)
    servers.kube.kubectl("-n", servers.namespace, "delete", "vllmserver", "leaves", "--timeout=15s")
    for kind in (*(kind for kind in ALL_KINDS if "Claim" not in kind), "ReplicaSet", "Pod"):
        servers.kube.eventually(
            lambda kind=kind: servers.kube.list(kind, servers.namespace, "app.kubernetes.io/instance=leaves") == [],
            within=20,
            namespace=servers.namespace,
        )
    if retain:
        assert servers.kube.get("PersistentVolumeClaim", "leaves-cache", servers.namespace) is not None
    else:
        gone(servers, "PersistentVolumeClaim", "leaves-cache")


def test_server_created_again_uses_its_retained_claim(servers: Servers) -> None:
    servers.create("again", {"cache": {"size": "1Gi"}})
    claim = servers.child("PersistentVolumeClaim", "again")["metadata"]["uid"]
    servers.kube.kubectl("-n", servers.namespace, "delete", "vllmserver", "again", "--timeout=15s")
    gone(servers, "Deployment", "again")
    servers.create("again", {"cache": {"size": "1Gi"}})
    servers.accepted("again")
    assert servers.child("PersistentVolumeClaim", "again")["metadata"]["uid"] == claim


def test_server_created_again_at_once_gets_new_children(servers: Servers) -> None:
    for _ in range(5):
        servers.create("quick", {"model": MODEL}, settled=False)
        servers.kube.delete(KIND, "quick", servers.namespace)
    server = servers.create("quick")

    def owned() -> None:
        owners = servers.child("Deployment", "quick")["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == [server["metadata"]["uid"]]

    servers.kube.eventually(owned, within=15, namespace=servers.namespace)
