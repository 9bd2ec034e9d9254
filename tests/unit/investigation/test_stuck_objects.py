"""Lookups for stuck objects: pods that neither their status nor a probe explains, and claims without a volume."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import (
    crashed_pod,
    deleted_pod,
    deployment,
    loading_pod,
    pod,
    ready_pod,
    scheduling_pod,
    termination,
    waiting_pod,
)
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.investigation.stuck_objects import lookups_for, stuck_pod
from vllm_operator.status.replicas.pod_memo import PodMemo

UID = "uid-of-mistral-5f9c6d7b8-x2k7b"
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
CLAIM = {
    "metadata": {"name": "mistral-cache", "uid": "claim"},
    "spec": {"storageClassName": "fast"},
    "status": {"phase": "Pending"},
}


def lookups(*pods: dict[str, Any], claim: dict[str, Any] | None = None) -> list[tuple[str, str, str]]:
    found = lookups_for(
        Snapshot(deployment=deployment(1), claim=claim, pods=pods), [stuck_pod(body, PodMemo()) for body in pods]
    )
    return [(lookup.kind, lookup.source, lookup.uid) for lookup in found]


STUCK = [
    (pod(), "events"),
    (waiting_pod("ImagePullBackOff", "401 Unauthorized"), "events"),
    (crashed_pod(termination(137)), "events"),
    (loading_pod(), "log"),
]
EXPLAINED = [
    ready_pod(),
    scheduling_pod(),
    deleted_pod(),
    waiting_pod("CreateContainerConfigError", 'secret "hf" not found'),
    crashed_pod(termination(1)),
    crashed_pod(termination(137, reason="OOMKilled")),
]


@pytest.mark.parametrize(("body", "source"), STUCK)
def test_stuck_pod_is_looked_up(body: dict[str, Any], source: str) -> None:
    assert lookups(body) == [("Pod", source, UID)]


@pytest.mark.parametrize("body", EXPLAINED)
def test_pod_whose_status_explains_itself_is_not_looked_up(body: dict[str, Any]) -> None:
    assert lookups(body) == []


def test_only_a_claim_without_a_volume_is_looked_up() -> None:
    unscheduled = scheduling_pod(message=UNBOUND)
    assert lookups(unscheduled, claim=CLAIM) == [("PersistentVolumeClaim", "events", "claim")]
    assert lookups(unscheduled, claim={**CLAIM, "status": {"phase": "Bound"}}) == []


def test_claim_that_no_pod_waits_for_is_not_looked_up() -> None:
    assert lookups(claim=CLAIM) == []
    node = {"volume.kubernetes.io/selected-node": "gpu-3"}
    awaited = {**CLAIM, "metadata": {**CLAIM["metadata"], "annotations": node}}  # type: ignore[dict-item]
    assert lookups(claim=awaited) == [("PersistentVolumeClaim", "events", "claim")]


def test_next_run_of_a_container_is_another_lookup() -> None:
    again = loading_pod()
    again["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = "2026-03-02T09:30:00Z"
    first, second = (stuck_pod(body, PodMemo()).lookup for body in (loading_pod(), again))
    assert first != second
