"""Take over watch events and answers to writes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.informers.objects import KEY, child, held
from vllm_operator.informers.store import Store
from vllm_operator.kube.kinds import KINDS_WITHOUT_READ_STATUS


def test_newer_state_replaces_an_older_one(store: Store) -> None:
    assert store.put("Service", child(version=9))
    assert store.put("Service", child(version=10))

    assert held(store) == 10


@pytest.mark.parametrize("version", [9, 10])
def test_stale_or_repeated_event_is_ignored(store: Store, version: int) -> None:
    store.put("Service", child(version=10))

    assert not store.put("Service", child(version=version))
    assert held(store) == 10


def test_successor_of_the_same_name_replaces_the_object_in_any_version(store: Store) -> None:
    store.put("Service", child(version=10))

    assert store.put("Service", child(version=2, uid="u2"))
    assert held(store) == 2


def test_deleted_object_is_forgotten(store: Store) -> None:
    store.put("Service", child())
    store.remove("Service", child(version=2))

    assert held(store) is None
    assert store.names(KEY, "Service") == []


def test_deletion_of_a_former_object_leaves_its_successor(store: Store) -> None:
    store.put("Service", child(uid="u2"))
    store.remove("Service", child(uid="u1", version=9))

    assert held(store) == 1


def is_actionable(store: Store, kind: str, event: str = "MODIFIED", **changed: Any) -> bool:
    """Return whether a reconcile could act on an event about a child that matched its manifest."""
    store.put(kind, child())
    store.mark_verified(kind, "llm", "mistral", "hash")
    return store.process_watch_event(kind, event, {**child(), **changed, "metadata": {**child(version=2)["metadata"]}})


@pytest.mark.parametrize("kind", sorted(KINDS_WITHOUT_READ_STATUS))
def test_status_of_a_verified_child_that_no_reconcile_reads_is_not_actionable(store: Store, kind: str) -> None:
    assert not is_actionable(store, kind, status={"currentHealthy": 1})
    kept = store.get(kind, "llm", "mistral")
    assert kept is not None
    assert kept["status"] == {"currentHealthy": 1}


@pytest.mark.parametrize(
    "kind", ["Deployment", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "Pod", "VLLMServer"]
)
def test_status_of_a_child_that_a_reconcile_reads_is_actionable(store: Store, kind: str) -> None:
    assert is_actionable(store, kind, status={"currentHealthy": 1})


@pytest.mark.parametrize("kind", sorted(KINDS_WITHOUT_READ_STATUS))
def test_edited_and_deleted_children_are_actionable(store: Store, kind: str) -> None:
    assert is_actionable(store, kind, spec={"version": 7})
    assert store.process_watch_event(kind, "DELETED", child(version=3))
    assert store.process_watch_event(kind, "ADDED", child(version=4, uid="u2"))
    assert not store.process_watch_event(kind, "MODIFIED", child(version=4, uid="u2")), "the echo of what is known"


def child_with_status(version: int, replicas: int) -> dict[str, Any]:
    """The same child, which reports something else."""
    return {**child(version=version), "spec": {"version": 1}, "status": {"replicas": replicas}}


def test_child_stays_verified_when_only_its_status_changes(store: Store) -> None:
    store.put("Service", child_with_status(1, 0))
    store.mark_verified("Service", "llm", "mistral", "hash")
    store.put("Service", child_with_status(2, 1))

    assert store.verified_hash("Service", "llm", "mistral") == "hash"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"version": 2}},
        {"metadata": {"labels": {"app.kubernetes.io/instance": "mistral", "new": "label"}}},
        {"metadata": {"deletionTimestamp": "2026-03-02T08:00:00Z"}},
        {"metadata": {"uid": "u2"}},
        {"metadata": {"managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:type": {}}}}]}},
    ],
    ids=["spec", "labels", "deletion", "another object", "a foreign field"],
)
def test_changed_child_is_no_longer_verified(store: Store, change: dict[str, Any]) -> None:
    store.put("Service", child_with_status(1, 0))
    store.mark_verified("Service", "llm", "mistral", "hash")
    changed = child_with_status(2, 0)
    changed["metadata"].update(change.get("metadata", {}))
    changed.update({name: value for name, value in change.items() if name != "metadata"})
    store.put("Service", changed)

    assert store.verified_hash("Service", "llm", "mistral") == ""
