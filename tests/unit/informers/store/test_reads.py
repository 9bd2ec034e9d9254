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


def test_server_lacks_status_until_its_first_phase(store: Store) -> None:
    assert not store.lacks_status(KEY), "it is not there"
    store.put("VLLMServer", child())
    assert store.lacks_status(KEY)
    store.put("VLLMServer", child(version=2) | {"status": {"phase": "Pending"}})
    assert not store.lacks_status(KEY)
