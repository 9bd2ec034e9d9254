"""Each field of the spec, changed on a live server, arrives at its child; changed back, the child is what it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration import fields
from tests.integration.fields import Change, leaves, merged, nested
from tests.integration.replica import FakeReplica, fake_replica
from tests.integration.servers import MODEL, Servers
from tests.integration.stalled_replica import restarted_for_a_stalled_engine, run_pod, stalled_replica
from tools.harness.kube import KIND, Kube, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.apply.rollback import ANNOTATION_ROLLBACK

NAME = "live"
LOOPBACK = "127.0.0.77"
"""An address of the loopback interface that nobody else uses: here a pod's."""


def claim(name: str) -> Object:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def secret(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"token": "t", "other": "o"},
    }


@pytest.fixture(scope="module")
def live(shared_servers: Servers) -> Servers:
    """A live server, and all that the changes refer to."""
    for body in (secret("hf"), secret("keys"), secret("registry"), claim("models")):
        shared_servers.kube.create(body, shared_servers.namespace)
    found = replace(shared_servers, kinds=(*shared_servers.kinds, "ScaledObject"))
    found.create(NAME)
    return found


def set_spec(servers: Servers, spec: Object) -> None:
    """Replace the whole spec and wait until it is carried out."""
    whole = merged({"model": MODEL}, spec)
    servers.kube.patch(
        KIND, NAME, servers.namespace, [{"op": "replace", "path": "/spec", "value": whole}], json_patch=True
    )
    servers.settled(NAME)
    servers.accepted(NAME)


def test_every_leaf_field_of_the_spec_has_a_change() -> None:
    covered = [*(change.path for change in fields.CHANGES), *fields.ONE_VALUE, *fields.ELSEWHERE]
    assert sorted(covered) == sorted(leaves())


def test_tests_named_in_the_table_exist() -> None:
    assert [name for name in fields.ELSEWHERE.values() if not callable(globals().get(name))] == []


def restored(servers: Servers) -> Object:
    """The children to compare; the number of replicas is the autoscaler's while there is one."""
    children = servers.essences(NAME)
    if "HorizontalPodAutoscaler" in children:
        children["Deployment"]["spec"].pop("replicas")
    return children


@pytest.mark.parametrize("change", fields.CHANGES, ids=[change.path for change in fields.CHANGES])
def test_change_arrives_and_is_undone_without_trace(live: Servers, change: Change) -> None:
    set_spec(live, change.given)
    former = restored(live)
    uid = live.child("Deployment", NAME)["metadata"]["uid"]
    assert change.look(former) != change.expected, "the change would show nothing"

    set_spec(live, change.changed)
    assert change.look(live.children(NAME)) == change.expected

    set_spec(live, change.given)
    assert restored(live) == former
    assert live.child("Deployment", NAME)["metadata"]["uid"] == uid


def test_paused_leaves_the_children_alone_until_it_is_lifted(servers: Servers) -> None:
    servers.create("still")
    servers.patch("still", {"paused": True})
    before = servers.child("Deployment", "still")
    paused = servers.patch("still", {"replicas": 3})
    assert paused["status"]["phase"] == "Paused"
    servers.kube.delete("Service", "still", servers.namespace)
    time.sleep(1)
    assert servers.child("Deployment", "still")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert servers.find_child("Service", "still") is None
    servers.patch("still", {"paused": False})
    assert servers.child("Deployment", "still")["spec"]["replicas"] == 3
    assert servers.find_child("Service", "still") is not None


@pytest.mark.parametrize(
    ("field", "value", "current"),
    [("accessModes", ["ReadWriteMany"], "ReadWriteOnce"), ("storageClassName", "fast", "")],
)
def test_immutable_claim_field_is_refused_and_the_claim_stays(
    servers: Servers, field: str, value: object, current: str
) -> None:
    servers.create("fixed", {"cache": {"size": "1Gi"}})
    former = servers.essences("fixed")
    servers.patch("fixed", {"cache": {field: value}})
    servers.refused("fixed", f"spec.cache.{field}", current)
    assert servers.essences("fixed") == former
    servers.patch("fixed", {"cache": {field: None}})
    servers.accepted("fixed")
    assert servers.essences("fixed") == former


@pytest.mark.parametrize(("field", "value"), [("accessModes", ["ReadWriteMany"]), ("storageClassName", "fast")])
def test_new_claim_follows_the_cache_spec(servers: Servers, field: str, value: object) -> None:
    servers.create("fresh", {"cache": merged({"size": "1Gi"}, nested(field, value))})
    assert servers.child("PersistentVolumeClaim", "fresh")["spec"][field] == value


def grow(kube: Kube, namespace: str, name: str) -> None:
    """A class of growing volumes, and a volume of it for the claim of this name."""
    if kube.get("StorageClass", "grows") is None:
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "grows"}}
        kube.create({**body, "provisioner": "example.com/none", "allowVolumeExpansion": True})
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "grows",
        "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": {"namespace": namespace, "name": name},
        "csi": {"driver": "example.com", "volumeHandle": name},
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{namespace}-{name}"}}
    kube.create({**volume, "spec": spec})


def test_larger_cache_grows_its_claim_and_a_smaller_one_is_refused(servers: Servers) -> None:
    grow(servers.kube, servers.namespace, "grown-cache")
    servers.create("grown", {"cache": {"size": "1Gi", "storageClassName": "grows"}})
    servers.kube.eventually(
        lambda: servers.child("PersistentVolumeClaim", "grown")["status"]["phase"] == "Bound", within=10
    )
    servers.patch("grown", {"cache": {"size": "2Gi"}})
    claim = servers.child("PersistentVolumeClaim", "grown")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    servers.patch("grown", {"cache": {"size": "1Gi"}})
    servers.kube.delete("PersistentVolume", f"{servers.namespace}-grown-cache")
    # Kubernetes takes back no space that it has given.
    servers.refused("grown", "spec.cache.size: 1Gi is less than the 2Gi", "set it back to 2Gi", reason="ImmutableClaim")
    servers.patch("grown", {"cache": {"size": "2Gi"}})
    servers.accepted("grown")
    assert servers.child("PersistentVolumeClaim", "grown")["spec"]["resources"]["requests"]["storage"] == "2Gi"


@pytest.fixture
def asked() -> Iterator[FakeReplica]:
    with fake_replica(LOOPBACK) as server:
        yield server


def test_probe_interval_sets_the_pace_of_probes(servers: Servers, asked: FakeReplica) -> None:
    servers.create("asked", {"health": {"probeIntervalSeconds": 1}})
    run_pod(servers.kube, servers.namespace, "asked", LOOPBACK)
    servers.kube.eventually(lambda: asked.times("/health") >= 3, within=10, namespace=servers.namespace)
    servers.kube.eventually(
        lambda: servers.get("asked")["status"].get("healthyReplicas") == 1, within=10, namespace=servers.namespace
    )
    servers.patch("asked", {"health": {"probeIntervalSeconds": 60}})
    time.sleep(1)
    before = asked.times("/health")
    time.sleep(3)
    assert asked.times("/health") - before <= 1, "asked more often than once a minute"


def test_synthetic_completion_setting_decides_when_one_is_sent(servers: Servers, asked: FakeReplica) -> None:
    servers.create("asked", {"health": {"probeIntervalSeconds": 1, "syntheticCompletion": "Never"}})
    run_pod(servers.kube, servers.namespace, "asked", LOOPBACK)
    servers.kube.eventually(lambda: asked.times("/health") >= 4, within=20, namespace=servers.namespace)
    assert asked.times("/metrics") == 1, "for the capacity, and not again"
    servers.patch("asked", {"health": {"syntheticCompletion": "Always"}})
    servers.kube.eventually(lambda: asked.completions or False, within=60, namespace=servers.namespace)
    assert asked.completions == [{"model": "tiny", "prompt": "Hi", "max_tokens": 1, "temperature": 0}]


def test_change_of_a_busy_replica_waits_until_it_is_idle(servers: Servers) -> None:
    """The load of a replica that nobody probes is unknown, so the change waits for as long as it may."""
    wait = {"waitForIdle": True, "waitForIdleSeconds": 600}
    servers.create("busy", {"rollout": wait, "health": {"syntheticCompletion": "Never"}})
    run_pod(servers.kube, servers.namespace, "busy", LOOPBACK)
    servers.kube.eventually(
        lambda: (servers.child("Deployment", "busy").get("status") or {}).get("availableReplicas") == 1, within=20
    )

    def memory() -> str:
        volumes = servers.child("Deployment", "busy")["spec"]["template"]["spec"]["volumes"]
        return str(next(one for one in volumes if one["name"] == "shm")["emptyDir"]["sizeLimit"])

    servers.patch("busy", {"sharedMemory": "17Gi"}, settled=False)
    servers.kube.eventually(
        lambda: servers.condition("busy", "Progressing").get("reason") == "WaitingForIdle", within=20
    )
    assert memory() != "17Gi"
    servers.patch("busy", {"rollout": {"waitForIdleSeconds": 1}}, settled=False)
    servers.kube.eventually(lambda: memory() == "17Gi", within=20)
    servers.kube.delete(KIND, "busy", servers.namespace)


def test_auto_rollback_keeps_the_pods_that_served_in_the_deployment(servers: Servers) -> None:
    """`test_rollout_status.py` shows the rollback itself."""
    servers.create("keeps", {"rollout": {"autoRollback": True}})

    def is_kept(*, kept: bool) -> None:
        assert (ANNOTATION_ROLLBACK in servers.child("Deployment", "keeps")["metadata"]["annotations"]) is kept

    servers.kube.eventually(lambda: is_kept(kept=True), within=20)
    servers.patch("keeps", {"rollout": {"autoRollback": False}})
    servers.kube.eventually(lambda: is_kept(kept=False), within=20)
    servers.kube.delete(KIND, "keeps", servers.namespace)


def test_restart_stalled_deletes_the_pod_of_a_stalled_engine(servers: Servers, operator: OperatorProcess) -> None:
    with stalled_replica(LOOPBACK):
        server = restarted_for_a_stalled_engine(servers, operator, "stalled", LOOPBACK)
    assert len(server["status"]["stalledRestarts"]) == 1


def test_fast_path_changes_no_child_at_rest(servers: Servers) -> None:
    """`tests/autoscaling` shows what it does under load."""
    servers.create("quick", {"autoscaling": {"maxReplicas": 3}})
    before = servers.essences("quick")
    servers.patch("quick", {"autoscaling": {"fastPath": True}})
    assert servers.essences("quick") == before


def test_window_of_a_schedule_sets_the_bounds_while_it_is_open(servers: Servers) -> None:
    def minimum(**window: Any) -> int:
        servers.patch("hours", {"autoscaling": {"schedule": [{"minReplicas": 2, **window}]}})
        servers.accepted("hours")
        return int(servers.child("HorizontalPodAutoscaler", "hours")["spec"]["minReplicas"])

    servers.create("hours", {"autoscaling": {"maxReplicas": 3}})
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    before, after = (now + timedelta(minutes=minutes) for minutes in (-30, 30))
    start, end = (f"{one.minute} {one.hour} {one.day} {one.month} *" for one in (before, after))
    assert minimum(start=start, end=end) == 2
    assert minimum(start=end, end=start) == 1
    assert minimum(start=start, durationSeconds=3600) == 2
    assert minimum(start=start, durationSeconds=600) == 1
    # The same numbers on the clock of another zone were hours ago.
    assert minimum(start=start, durationSeconds=3600, timeZone="Asia/Tokyo") == 1
