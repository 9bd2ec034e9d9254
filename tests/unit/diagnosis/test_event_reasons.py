"""Causes that only Events show: of stuck pods, unbound claims and killed containers."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.event_reasons import diagnose_events

MOUNT = 'MountVolume.SetUp failed for volume "model-cache" : secret "nfs" not found'
TIMED_OUT = "Unable to attach or mount volumes: unmounted volumes=[model-cache]: timed out waiting for the condition"
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


def test_failure_comes_first_among_the_events_of_a_claim():
    waits = event("ExternalProvisioning", "Waiting for a volume", "2026-03-02T08:09:00Z")
    assert diagnose_events("PersistentVolumeClaim", [waits]).reason == "ExternalProvisioning"
    failed = event("ProvisioningFailed", NO_CLASS)
    assert diagnose_events("PersistentVolumeClaim", [waits, failed]) == Diagnosis("ProvisioningFailed", NO_CLASS)


def test_secrets_in_events_are_masked():
    found = diagnose_events("Pod", [event("FailedMount", "MountVolume: token hf_AbCdEfGhIjKlMn")])
    assert "hf_AbC" not in found.message
