"""The cause of a claim without a volume, from its Events."""

from __future__ import annotations

from typing import Any

from tests.helpers.pods import (
    deployment,
    rolling,
    scheduling_pod,
)
from tests.helpers.status_inputs import NOW, condition_of, conditions, inputs, status_of
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.status.inputs import StatusInputs

NAME = "mistral-5f9c6d7b8-x2k7b"
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
CLAIM = {
    "metadata": {"name": "mistral-cache", "uid": "claim"},
    "spec": {"storageClassName": "fast"},
    "status": {"phase": "Pending"},
}
NO_CLASS = 'storageclass.storage.k8s.io "fast" not found'


def unbound(reason: str = "", message: str = "", **changes: Any) -> StatusInputs:
    """A server whose cache has no volume, and whose replica waits for it."""
    lookup_results = {"claim": Diagnosis(reason, message)} if message else {}
    moving = deployment(1, availableReplicas=0, conditions=[rolling()])
    known = {"cache_claim": "mistral-cache", "claim": CLAIM, "deployment": moving, "lookup_results": lookup_results}
    return inputs(scheduling_pod(message=UNBOUND), **known, **changes)


def test_unbound_claim_names_cause_and_remedy():
    status = status_of(unbound("ProvisioningFailed", NO_CLASS))
    assert condition_of(status, "CacheReady") == ("False", "ProvisioningFailed")
    [ready] = [entry for entry in status["conditions"] if entry["type"] == "Ready"]
    assert "kubectl describe pvc" not in ready["message"], "one remedy is enough"
    message = (
        f"claim mistral-cache is not bound: {NO_CLASS}; correct cache.storageClassName or cache.size, or repair "
        "storage class fast"
    )
    assert conditions(status)["CacheReady"]["message"] == message
    assert status["message"] == f"0/1 replicas serve; {NAME}: {message}"


def test_restarted_operator_keeps_the_cause_of_a_claim():
    known = status_of(unbound("ProvisioningFailed", NO_CLASS))
    assert status_of(unbound(previous=known, now=NOW.replace(hour=20))) == known


def test_unbound_claim_without_a_cause_points_to_kubectl():
    message = conditions(status_of(unbound()))["CacheReady"]["message"]
    assert message.endswith("see kubectl describe pvc mistral-cache")
