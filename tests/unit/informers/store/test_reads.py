"""Read objects by server, by name and by version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.informers.objects import KEY, child, held
from vllm_operator.informers.store import Store
from vllm_operator.kube.kinds import CHILD_KINDS, SERVER


def test_children_are_found_by_their_server(store: Store) -> None:
    store.put("Service", child("mistral"))
    store.put("Service", child("other", instance="other", uid="u2"))
    store.put("Service", child("foreign", instance=None, uid="u3"))

    assert store.names(KEY, "Service") == ["mistral"]


def test_child_that_loses_its_instance_label_leaves_its_server(store: Store) -> None:
    store.put("Service", child())
    store.put("Service", child(version=2, instance=None))

    assert store.names(KEY, "Service") == []
    assert held(store) == 2


def test_pods_are_sorted_by_name(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.put("Pod", child(name, uid=name))

    assert [pod["metadata"]["name"] for pod in store.pods(KEY)] == ["a", "b", "c"]


def test_server_is_found_by_its_shortened_name(store: Store) -> None:
    name = "m" * 70
    store.put("VLLMServer", child(name, instance=None))
    (key,) = store.servers()

    assert len(key.instance) <= 63
    assert store.server(key)["metadata"]["name"] == name  # type: ignore[index]


def test_unknown_server_has_no_objects(store: Store) -> None:
    assert store.server(KEY) is None
    assert store.pods(KEY) == ()


@pytest.mark.parametrize(
    ("metadata", "living"),
    [({}, True), ({"uid": "u2"}, False), ({"deletionTimestamp": "2026-03-02T08:00:00Z"}, False)],
    ids=["this very one", "another of the name", "being deleted"],
)
def test_has_server_until_it_is_deleted_or_replaced(store: Store, metadata: dict[str, Any], living: bool) -> None:
    body = child()
    body["metadata"].update(metadata)
    store.put("VLLMServer", body)

    assert store.has_server(KEY, "u1") == living
    assert not Store().has_server(KEY, "u1")


def test_newest_server_is_the_same_object_until_a_newer_state_arrives(store: Store) -> None:
    store.put("VLLMServer", child(version=1))
    body = store.server(KEY)
    assert body is not None

    assert store.newest_server(body) is body

    store.put("VLLMServer", child(version=2))
    assert (store.newest_server(body) or {})["spec"] == {"version": 2}

    store.put("VLLMServer", child(version=3, uid="u2"))
    assert (store.newest_server(body) or {})["metadata"]["uid"] == "u2"

    store.remove("VLLMServer", child(version=4, uid="u2"))
    assert store.newest_server(body) is None


def test_has_version_of_the_kind_until_it_is_replaced_or_removed(store: Store) -> None:
    store.put("VLLMServer", child(version=7))
    store.put("Service", child(version=8))

    assert store.has_version(SERVER, "7")
    assert not store.has_version(SERVER, "8")
    assert store.has_version(CHILD_KINDS["Service"], "8")

    store.put("VLLMServer", child(version=9))
    assert (store.has_version(SERVER, "7"), store.has_version(SERVER, "9")) == (False, True)

    store.remove("VLLMServer", child(version=10))
    assert not store.has_version(SERVER, "9")


def test_has_same_spec_by_uid_and_generation(store: Store) -> None:
    body = child(version=7)
    body["metadata"]["generation"] = 3
    assert not store.has_same_spec(body)

    store.put("VLLMServer", body)
    assert store.has_same_spec(body)

    later = child(version=8)
    later["metadata"]["generation"] = 3
    store.put("VLLMServer", later)
    assert store.has_same_spec(body)

    store.put("VLLMServer", {**later, "metadata": {**later["metadata"], "resourceVersion": "9", "generation": 4}})
    assert not store.has_same_spec(body)

    other = child(version=10, uid="u2")
    other["metadata"]["generation"] = 3
    store.put("VLLMServer", other)
    assert not store.has_same_spec(body)


def test_server_lacks_status_until_its_first_phase(store: Store) -> None:
    assert not store.lacks_status(KEY), "it is not there"
    store.put("VLLMServer", child())
    assert store.lacks_status(KEY)
    store.put("VLLMServer", child(version=2) | {"status": {"phase": "Pending"}})
    assert not store.lacks_status(KEY)
