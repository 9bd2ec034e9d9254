"""Old and new revision in the status, with the Deployment controller's own ReplicaSets; the test plays the kubelet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.replica import fake_replica
from tests.integration.servers import Servers
from tools.harness.kube import Object, condition

ADDRESS = "127.8.8.8"
GOOD, BROKEN = "vllm/vllm-openai:v0.31.0", "vllm/vllm-openai:v0.32.0-nope"
NOT_FOUND = f'failed to pull and unpack image "docker.io/{BROKEN}": docker.io/{BROKEN}: not found'
NEXT = "vllm/vllm-openai:v0.31.1"
BEGUN = "2026-01-01T00:00:00Z"


@pytest.fixture
def engines() -> Iterator[None]:
    with fake_replica(ADDRESS, version="0.31.0"):
        yield


def pods(servers: Servers, name: str, image: str) -> list[Object]:
    """The living pods with this image."""
    found = servers.kube.list("Pod", servers.namespace, f"app.kubernetes.io/instance={name}")
    living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in living if pod["spec"]["containers"][0]["image"] == image]


def play(servers: Servers, pod: Object, state: Object, ready: bool) -> None:
    """Write what a kubelet would of a pod on a node."""
    kinds = {"PodScheduled": True, "ContainersReady": ready, "Ready": ready}
    reasons = {kind: {} if holds else {"reason": "ContainersNotReady"} for kind, holds in kinds.items()}
    conditions = [{"type": kind, "status": str(holds), **reasons[kind]} for kind, holds in kinds.items()]
    container = {"name": "vllm", "image": "x", "imageID": "", "restartCount": 0, "ready": ready, "started": ready}
    status = {
        "phase": "Running" if ready else "Pending",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": conditions,
        "containerStatuses": [{**container, "state": state}],
    }
    servers.kube.patch("Pod", pod["metadata"]["name"], servers.namespace, {"status": status}, status=True)


def serve(servers: Servers, name: str, image: str, count: int) -> None:
    """Let `count` pods with this image serve."""

    def found() -> list[Object]:
        living = pods(servers, name, image)
        assert len(living) == count, f"{len(living)} pods with {image}"
        return living

    for pod in servers.kube.eventually(found, within=20, namespace=servers.namespace):
        play(servers, pod, {"running": {"startedAt": BEGUN}}, ready=True)


def wait_for_conditions(servers: Servers, name: str, **expected: tuple[str, str]) -> dict[str, Object]:
    """Wait until these conditions have this status and reason; returns them."""

    def check() -> dict[str, Object]:
        server = servers.get(name)
        found = {kind: condition(server, kind) for kind in expected}
        assert {kind: (entry.get("status"), entry.get("reason")) for kind, entry in found.items()} == expected
        return found

    return servers.kube.eventually(check, within=30, namespace=servers.namespace)


def test_broken_image_next_to_serving_replicas_is_reported_and_can_be_reverted(servers: Servers, engines: None) -> None:
    servers.create("rolls", {"image": GOOD, "replicas": 3, "accelerator": {"resourceName": ""}})
    serve(servers, "rolls", GOOD, 3)
    wait_for_conditions(servers, "rolls", Ready=("True", "Serving"), Progressing=("False", "Complete"))

    servers.patch("rolls", {"image": BROKEN}, settled=False)
    new = servers.kube.eventually(lambda: pods(servers, "rolls", BROKEN) or False, within=20)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": NOT_FOUND}}
    play(servers, new[0], waiting, ready=False)
    stuck = wait_for_conditions(
        servers,
        "rolls",
        Available=("True", "OlderRevision"),
        Progressing=("False", "Stuck"),
        Ready=("False", "Stuck"),
        Stalled=("True", "Stuck"),
    )
    old = pods(servers, "rolls", GOOD)[0]["metadata"]["labels"]["pod-template-hash"]
    assert stuck["Available"]["message"] == (f"2 of 2 serving replicas of an older revision: {old} (image {GOOD})")
    assert stuck["Progressing"]["message"] == (
        f"0 of 3 replicas of the wanted revision serving; {new[0]['metadata']['name']}: {NOT_FOUND}; "
        "check image and imagePullSecrets"
    )
    assert servers.get("rolls")["status"]["phase"] == "Degraded"

    servers.patch("rolls", {"image": GOOD}, settled=False)
    serve(servers, "rolls", GOOD, 3)
    wait_for_conditions(
        servers,
        "rolls",
        Available=("True", "Serving"),
        Progressing=("False", "Complete"),
        Ready=("True", "Serving"),
        Stalled=("False", "NotStalled"),
    )
    assert servers.get("rolls")["status"]["message"] == "3/3 replicas serve"


def test_failed_rollout_is_taken_back_and_held_until_the_spec_changes(servers: Servers, engines: None) -> None:
    rollout = {"autoRollback": True}
    servers.create("back", {"image": GOOD, "replicas": 2, "accelerator": {"resourceName": ""}, "rollout": rollout})
    serve(servers, "back", GOOD, 2)
    wait_for_conditions(servers, "back", Ready=("True", "Serving"), Progressing=("False", "Complete"))

    servers.patch("back", {"image": BROKEN}, settled=False)
    new = servers.kube.eventually(lambda: pods(servers, "back", BROKEN) or False, within=20)
    play(servers, new[0], {"waiting": {"reason": "ErrImagePull", "message": NOT_FOUND}}, ready=False)
    serve(servers, "back", GOOD, 2)
    held = wait_for_conditions(
        servers,
        "back",
        Progressing=("False", "RolledBack"),
        Ready=("False", "RolledBack"),
        Available=("True", "Serving"),
    )
    assert "not found" in held["Progressing"]["message"]
    assert servers.get("back")["spec"]["image"] == BROKEN
    generation = servers.child("Deployment", "back")["metadata"]["generation"]

    servers.patch("back", {"health": {"probeIntervalSeconds": 7}})
    assert servers.child("Deployment", "back")["metadata"]["generation"] == generation
    assert pods(servers, "back", BROKEN) == []

    servers.patch("back", {"image": NEXT}, settled=False)
    servers.kube.eventually(lambda: pods(servers, "back", NEXT) or False, within=20)
    wait_for_conditions(servers, "back", Progressing=("True", "RollingOut"))


def test_pods_refused_by_an_admission_policy_are_reported(servers: Servers) -> None:
    """The namespace demands the restricted standard, and the spec asks for the host's network."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    servers.kube.patch("Namespace", servers.namespace, None, label)
    servers.create("refused", {"podTemplate": {"spec": {"hostNetwork": True}}})
    stalled = wait_for_conditions(servers, "refused", Progressing=("False", "Stuck"), Stalled=("True", "Stuck"))[
        "Stalled"
    ]
    assert "violates PodSecurity" in stalled["message"]
    assert "hostNetwork" in servers.get("refused")["status"]["message"]


def test_exceeded_quota_is_reported_until_it_is_raised(servers: Servers) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    servers.kube.create(quota, servers.namespace)
    servers.create("waits", {})
    progressing = wait_for_conditions(
        servers, "waits", Progressing=("True", "RollingOut"), Stalled=("False", "NotStalled")
    )
    assert "exceeded quota: few" in progressing["Progressing"]["message"]
    assert "exceeded quota: few" in servers.get("waits")["status"]["message"]
