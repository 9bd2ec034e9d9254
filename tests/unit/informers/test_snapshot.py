"""The snapshot of one server: its objects at one moment, each parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.informers.objects import KEY, child, owned, replica
from vllm_operator.informers import entry
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.informers.store import Store
from vllm_operator.kube.codec import parse_compressed


@pytest.fixture
def store() -> Store:
    """Return a store with a server and two pods."""
    store = Store()
    store.put("VLLMServer", child(uid="server"))
    for name in ("b", "a"):
        store.put("Pod", replica(name))
    return store


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the name of each object that is parsed."""
    names: list[str] = []

    def count(raw: bytes) -> dict[str, Any]:
        body = parse_compressed(raw)
        names.append(body["metadata"]["name"])
        return body

    monkeypatch.setattr(entry, "parse_compressed", count)
    return names


def taken(store: Store, earlier: Snapshot | None = None) -> Snapshot:
    snapshot = store.snapshot(KEY, earlier)
    assert snapshot is not None
    return snapshot


def names(snapshot: Snapshot) -> list[str]:
    return [pod["metadata"]["name"] for pod in snapshot.pods]


def with_cache(cache: Mapping[str, Any] | None, version: int = 2) -> dict[str, Any]:
    return {**child(version=version, uid="server"), "spec": {"cache": cache}}


def test_pods_are_sorted_by_name(store: Store) -> None:
    assert names(taken(store)) == ["a", "b"]


def test_children_that_do_not_exist_are_none(store: Store) -> None:
    snapshot = taken(store)
    assert (snapshot.deployment, snapshot.claim, snapshot.autoscaler) == (None, None, None)


def test_server_is_found_by_its_shortened_name() -> None:
    store, name = Store(), "m" * 70
    store.put("VLLMServer", child(name, instance=None))
    (key,) = store.servers()
    snapshot = store.snapshot(key)

    assert len(key.instance) <= 63
    assert snapshot is not None
    assert snapshot.server["metadata"]["name"] == name


def test_unknown_server_has_no_snapshot_and_no_spec_version() -> None:
    assert Store().snapshot(KEY) is None
    assert Store().spec_version(KEY) is None


def test_server_that_is_being_deleted_has_no_snapshot_and_no_spec_version(store: Store) -> None:
    body = child(version=2, uid="server")
    body["metadata"]["deletionTimestamp"] = "2026-03-02T08:00:00Z"
    store.put("VLLMServer", body)

    assert store.snapshot(KEY) is None
    assert store.spec_version(KEY) is None


@pytest.mark.parametrize(
    ("cache", "claim"),
    [
        (None, None),
        ({"size": "1Gi"}, "mistral-cache"),
        ({"existingClaim": "models"}, "models"),
        ({"existingClaim": "unwatched"}, None),
    ],
    ids=["no cache", "claim of the operator", "existing claim", "claim that is not watched"],
)
def test_claim_is_the_one_that_holds_the_cache(store: Store, cache: dict[str, Any] | None, claim: str | None) -> None:
    store.put("PersistentVolumeClaim", child("mistral-cache", uid="own"))
    store.put("PersistentVolumeClaim", child("models", instance="other", uid="others"))
    store.put("VLLMServer", with_cache(cache))
    found = taken(store).claim

    assert (found["metadata"]["name"] if found else None) == claim


def test_objects_that_did_not_change_are_parsed_once(store: Store, parsed: list[str]) -> None:
    for kind in ("Deployment", "HorizontalPodAutoscaler"):
        store.put(kind, owned(child(uid=kind)))
    first = taken(store)
    assert sorted(parsed) == ["a", "b", "mistral", "mistral", "mistral"]
    parsed.clear()

    assert taken(store, first) == first
    assert parsed == []


def test_object_that_changed_is_parsed_again(store: Store, parsed: list[str]) -> None:
    first = taken(store)
    store.put("Pod", replica("a", version=2))
    store.put("VLLMServer", child(version=2, uid="server"))
    parsed.clear()
    second = taken(store, first)

    assert sorted(parsed) == ["a", "mistral"]
    assert [pod["metadata"]["resourceVersion"] for pod in second.pods] == ["2", "1"]
    assert second.server["spec"] == {"version": 2}
    assert first.server["spec"] == {"version": 1}


def test_pod_that_was_deleted_is_gone_from_the_next_snapshot(store: Store) -> None:
    first = taken(store)
    store.remove("Pod", child("a", version=2, uid="a"))

    assert names(taken(store, first)) == ["b"]


def test_spec_of_the_earlier_snapshot_names_the_claim(store: Store) -> None:
    store.put("PersistentVolumeClaim", child("mistral-cache", uid="own"))
    store.put("VLLMServer", with_cache({"size": "1Gi"}))
    first = taken(store)
    store.put("VLLMServer", with_cache(None, version=3))

    assert taken(store, first).claim is first.claim
    assert taken(store).claim is None


def test_another_server_of_the_name_has_no_snapshot_after_an_earlier_one(store: Store) -> None:
    first = taken(store)
    store.put("VLLMServer", child(version=3, uid="another"))

    assert store.snapshot(KEY, first) is None
    assert taken(store).server["metadata"]["uid"] == "another"


def test_spec_version_is_uid_and_generation(store: Store) -> None:
    body = child(version=7, uid="server")
    body["metadata"]["generation"] = 3
    store.put("VLLMServer", body)
    assert store.spec_version(KEY) == ("server", 3)

    later = {**body, "metadata": {**body["metadata"], "resourceVersion": "8"}, "status": {"phase": "Serving"}}
    store.put("VLLMServer", later)
    assert store.spec_version(KEY) == ("server", 3)

    store.put("VLLMServer", {**later, "metadata": {**later["metadata"], "resourceVersion": "9", "generation": 4}})
    assert store.spec_version(KEY) == ("server", 4)


def forged(**changes: Any) -> dict[str, Any]:
    """Return a replica with another owner reference."""
    body = replica("stranger")
    (owner,) = body["metadata"]["ownerReferences"]
    body["metadata"]["ownerReferences"] = [{**owner, **changes}]
    return body


def relabelled(**labels: str) -> dict[str, Any]:
    """Return a replica with other labels."""
    body = replica("stranger")
    body["metadata"]["labels"] |= labels
    return body


@pytest.mark.parametrize(
    "stranger",
    [
        child("stranger", uid="stranger"),
        {**forged(), "metadata": {**forged()["metadata"], "ownerReferences": []}},
        {**forged(), "metadata": {**forged()["metadata"], "ownerReferences": None}},
        forged(kind="Job"),
        forged(name="mistral"),
        forged(name="other-5f9c6d7b8"),
        forged(controller=False),
        forged(apiVersion="example.com/v1"),
        relabelled(**{"pod-template-hash": "other"}),
        relabelled(**{"app.kubernetes.io/name": "other"}),
        relabelled(**{"app.kubernetes.io/component": "other"}),
        replica("stranger", deployment="mistral-2"),
    ],
)
def test_pod_that_only_carries_the_labels_is_no_replica(store: Store, stranger: dict[str, Any]) -> None:
    store.put("Pod", stranger)
    assert names(taken(store)) == ["a", "b"]


@pytest.mark.parametrize("kind", ["Deployment", "HorizontalPodAutoscaler"])
def test_child_of_another_owner_is_not_in_the_snapshot(store: Store, kind: str) -> None:
    body = owned(child(uid=kind))
    body["metadata"]["ownerReferences"][0] |= {"name": "other", "uid": "other"}
    store.put(kind, body)
    snapshot = taken(store)
    assert (snapshot.deployment, snapshot.autoscaler, snapshot.standing) == (None, None, frozenset())


def test_children_that_stand_are_its_own_and_not_being_deleted(store: Store) -> None:
    store.put("Service", owned(child(uid="service")))
    store.put("PodMonitor", owned(child(uid="monitor"), uid="former server"))
    store.put("PrometheusRule", child(uid="rule"))
    going = owned(child(uid="budget"))
    going["metadata"]["deletionTimestamp"] = "2026-03-02T08:00:00Z"
    store.put("PodDisruptionBudget", going)
    assert taken(store).standing == {"Service"}
