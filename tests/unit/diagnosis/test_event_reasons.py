"""What only events tell: of pods that are stuck, of claims without a volume, of containers that the kubelet killed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.pods import (
    SCHEDULED,
    condition,
    crashed_pod,
    deleted_pod,
    deployment,
    pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.status_inputs import NOW, SERVING, condition_of, conditions, inputs, status_of
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.event_reasons import diagnose_events
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs

NAME = "mistral-5f9c6d7b8-x2k7b"
UID = f"uid-of-{NAME}"
MOUNT = 'MountVolume.SetUp failed for volume "model-cache" : secret "nfs" not found'
TIMED_OUT = "Unable to attach or mount volumes: unmounted volumes=[model-cache]: timed out waiting for the condition"
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
CLAIM = {
    "metadata": {"name": "mistral-cache", "uid": "claim"},
    "spec": {"storageClassName": "fast"},
    "status": {"phase": "Pending"},
}
NO_CLASS = 'storageclass.storage.k8s.io "fast" not found'


def event(reason: str, message: str, at: str = "2026-03-02T08:00:00Z", **more: Any) -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at, **more}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], NO_DIAGNOSIS),
        ([event("Scheduled", "Successfully assigned"), event("Pulling", "Pulling image")], NO_DIAGNOSIS),
        ([event("FailedMount", TIMED_OUT), event("FailedMount", MOUNT)], Diagnosis("FailedMount", MOUNT)),
        ([event("FailedMount", TIMED_OUT)], Diagnosis("FailedMount", TIMED_OUT)),
        (
            [event("FailedMount", MOUNT), event("FailedMount", MOUNT + "!", "2026-03-02T08:09:00Z")],
            Diagnosis("FailedMount", MOUNT + "!"),
        ),
        (
            [event("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"'), event("FailedMount", TIMED_OUT)],
            Diagnosis("FailedAttachVolume", 'Multi-Attach error for volume "pvc-1"'),
        ),
        (
            [event("Killing", "Stopping container vllm")],
            NO_DIAGNOSIS,
        ),
        (
            [event("Killing", "Container vllm failed liveness probe, will be restarted")],
            Diagnosis("Killing", "Container vllm failed liveness probe, will be restarted"),
        ),
        (
            [event("FailedCreatePodSandBox", f'failed to setup network for sandbox "{"0f" * 32}": no CNI', "", x=1)],
            Diagnosis("FailedCreatePodSandBox", "failed to setup network for …: no CNI"),
        ),
    ],
)
def test_events_of_a_pod(events: list[dict[str, Any]], expected: Diagnosis):
    assert diagnose_events("Pod", events) == expected


def test_events_of_a_claim_tell_the_failure_first():
    waits = event("ExternalProvisioning", "Waiting for a volume", "2026-03-02T08:09:00Z")
    assert diagnose_events("PersistentVolumeClaim", [waits]).reason == "ExternalProvisioning"
    failed = event("ProvisioningFailed", NO_CLASS)
    assert diagnose_events("PersistentVolumeClaim", [waits, failed]) == Diagnosis("ProvisioningFailed", NO_CLASS)


def test_secrets_in_events_are_masked():
    found = diagnose_events("Pod", [event("FailedMount", "MountVolume: token hf_AbCdEfGhIjKlMn")])
    assert "hf_AbC" not in found.message


def found(body: dict[str, Any], reason: str, message: str) -> StatusInputs:
    return inputs(
        body,
        health={NAME: ReplicaHealth()},
        deployment=deployment(1, availableReplicas=0, conditions=[rolling()]),
        lookup_results={UID: Diagnosis(reason, message)},
    )


EXPLAINED = [
    (found(pod(), "FailedMount", MOUNT), "Pulling", "FailedMount", MOUNT),
    (
        found(waiting_pod("ImagePullBackOff", "401 Unauthorized"), "FailedToRetrieveImagePullSecret", "Unable to "
        "retrieve some image pull secrets (regcred)"),
        *("Pulling", "ImagePullBackOff", "401 Unauthorized; Unable to retrieve some image pull secrets (regcred)"),
    ),
    (
        found(crashed_pod(termination(137)), "Killing", "Container vllm failed liveness probe, will be restarted"),
        *("CrashLooping", "Killing", "exit code 137: Container vllm failed liveness probe, will be restarted"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "phase", "reason", "message"), EXPLAINED)
def test_replica_tells_what_its_events_explain(seen: StatusInputs, phase: str, reason: str, message: str):
    (entry,) = status_of(seen)["replicaStatuses"]
    assert (entry["phase"], entry["reason"], entry["message"]) == (phase, reason, message)


@pytest.mark.parametrize("seen", [row[0] for row in EXPLAINED])
def test_restarted_operator_keeps_the_explanation_until_it_has_looked_again(seen: StatusInputs):
    known = status_of(seen)
    assert status_of(replace(seen, lookup_results={}, previous=known, now=NOW.replace(hour=20))) == known


def test_mount_that_came_through_is_told_no_more():
    known = status_of(found(pod(), "FailedMount", MOUNT))
    (entry,) = status_of(replace(found(pod(), "", ""), previous=known))["replicaStatuses"]
    assert entry["reason"] == "ContainerCreating"


def unbound(reason: str = "", message: str = "", **changes: Any) -> StatusInputs:
    """A server whose cache has no volume, and whose replica waits for it."""
    lookup_results = {"claim": Diagnosis(reason, message)} if message else {}
    moving = deployment(1, availableReplicas=0, conditions=[rolling()])
    known = {"cache_claim": "mistral-cache", "claim": CLAIM, "deployment": moving, "lookup_results": lookup_results}
    return inputs(scheduling_pod(message=UNBOUND), **known, **changes)


def test_claim_tells_why_it_has_no_volume():
    status = status_of(unbound("ProvisioningFailed", NO_CLASS))
    assert condition_of(status, "CacheReady") == ("False", "ProvisioningFailed")
    [ready] = [entry for entry in status["conditions"] if entry["type"] == "Ready"]
    assert "kubectl describe pvc" not in ready["message"], "one way out is enough"
    words = (
        f"claim mistral-cache is not bound: {NO_CLASS}; correct cache.storageClassName or cache.size, or repair "
        "storage class fast"
    )
    assert conditions(status)["CacheReady"]["message"] == words
    assert status["message"] == f"0/1 replicas serve; {NAME}: {words}"


def test_restarted_operator_keeps_what_it_knew_of_a_claim():
    known = status_of(unbound("ProvisioningFailed", NO_CLASS))
    assert status_of(unbound(previous=known, now=NOW.replace(hour=20))) == known


def test_claim_of_which_nothing_is_known_points_to_kubectl():
    message = conditions(status_of(unbound()))["CacheReady"]["message"]
    assert message.endswith("see kubectl describe pvc mistral-cache")


def test_pod_that_the_node_controller_marked_is_lost_and_neither_loading_nor_stalled():
    """It sets Ready to False without a reason, which no kubelet does, and leaves the containers as they were."""
    body = ready_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", SCHEDULED)
    for health in (SERVING, ReplicaHealth("Timeout", "no answer")):
        (entry,) = status_of(inputs(body, health={NAME: health}))["replicaStatuses"]
        assert (entry["phase"], entry["reason"]) == ("Unknown", "NodeLost")


def test_pod_that_left_a_silent_node_is_lost_and_not_draining():
    body = deleted_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", SCHEDULED)
    (entry,) = status_of(inputs(body))["replicaStatuses"]
    assert (entry["phase"], entry["reason"]) == ("Unknown", "NodeLost")


def test_pod_that_kubernetes_ends_tells_why():
    body = deleted_pod()
    why = "default-scheduler: preempting to accommodate a higher priority pod"
    body["status"]["conditions"].append(condition("DisruptionTarget", "True", SCHEDULED, "PreemptionByScheduler", why))
    (entry,) = status_of(inputs(body))["replicaStatuses"]
    assert entry["phase"] == "Draining"
    assert entry["message"].startswith(f"{why}; finishes its requests")
