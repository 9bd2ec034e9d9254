"""A list is packed object by object, and what is known, unreadable or too much is handled on its own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.informers.objects import child
from vllm_operator.informers import cache_budget
from vllm_operator.informers.cache_budget import UnreadLog
from vllm_operator.informers.entry import Entry
from vllm_operator.informers.list_packer import ListPacker
from vllm_operator.informers.store import Store
from vllm_operator.kube.kinds import CHILD_KINDS

SERVICE = CHILD_KINDS["Service"]


def packer(*known: Entry) -> ListPacker:
    entries = {(entry.namespace, entry.name): entry for entry in known}
    return ListPacker(SERVICE, entries.get, UnreadLog())


def raw(**more: Any) -> bytes:
    return orjson.dumps({**child(), **more})


def test_object_gets_the_kind_of_its_list() -> None:
    entry = packer().pack(raw())
    assert entry is not None
    assert (entry.body["kind"], entry.body["apiVersion"]) == ("Service", "v1")
    assert entry.name == "mistral"


def test_unchanged_object_is_not_parsed_again() -> None:
    known = Entry.of("Service", child())
    assert packer(known).pack(raw()) is known


@pytest.mark.parametrize("changed", [child(version=2), child(uid="u2")], ids=["version", "uid"])
def test_changed_object_is_parsed(changed: dict[str, Any]) -> None:
    known = Entry.of("Service", child())
    entry = packer(known).pack(orjson.dumps(changed))
    assert entry is not None
    assert (entry.uid, entry.version) == (changed["metadata"]["uid"], changed["metadata"]["resourceVersion"])


def test_stub_is_read_again() -> None:
    known = Entry.of("Service", child()).stub("too much")
    entry = packer(known).pack(raw())
    assert entry is not None
    assert not entry.is_stub


def test_large_object_becomes_a_stub_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    entry = packer().pack(raw(spec={"x": "x" * 500_000}))
    assert entry is not None
    assert entry.is_stub
    assert len(entry.raw) < 1000
    assert "Service llm/mistral is not read: its JSON" in caplog.text


def test_item_without_a_name_is_counted_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert packer().pack(b'{"spec":' + b"[" * 2000 + b"]" * 2000 + b"}") is None
    assert "Service" in caplog.text


def test_list_keeps_no_more_than_the_budget_of_a_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_budget, "MAX_NAMESPACE_OBJECTS", 3)
    monkeypatch.setattr(cache_budget, "MAX_NAMESPACE_BYTES", 1000)
    packing = packer()
    names = [orjson.dumps({**child(str(n), uid=str(n)), "spec": {"x": "y" * 400}}) for n in range(5)]
    entries = [packing.pack(item) for item in names]
    assert [entry.is_stub if entry else None for entry in entries] == [False, True, True, None, None]


def test_store_keeps_no_more_than_the_budget_of_a_namespace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_budget, "MAX_NAMESPACE_OBJECTS", 3)
    for number in range(5):
        store.put("Service", child(str(number), uid=str(number), version=number))
    assert store.counts()["Service"] == 3
    other = child("x", uid="x")
    other["metadata"]["namespace"] = "other"
    assert store.put("Service", other)

    store.remove("Service", child("0", uid="0", version=9))
    assert store.put("Service", child("5", uid="5", version=10))
    assert store.counts()["Service"] == 4


def test_object_beyond_the_bytes_of_its_namespace_is_a_stub_with_its_status(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_budget, "MAX_NAMESPACE_BYTES", 1000)
    store.put("Service", {**child(), "spec": {"x": "y" * 1500}, "status": {"a": 1}})
    body = store.get("Service", "llm", "mistral")
    assert body is not None
    assert "spec" not in body
    assert body["status"] == {"a": 1}
    assert "delete large objects" in body["vllm-operator.dev/unreadable"]

    assert store.put("Service", {**child(version=2), "spec": {"x": "y"}})
    body = store.get("Service", "llm", "mistral")
    assert body is not None
    assert body["spec"] == {"x": "y"}


def test_list_keeps_what_the_caches_hold_whatever_the_budget_is(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Entry.of("Service", child())
    monkeypatch.setattr(cache_budget, "MAX_NAMESPACE_OBJECTS", 0)

    assert packer(known).pack(raw()) is known
    assert packer().pack(raw()) is None


def test_objects_of_all_namespaces_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_budget, "MAX_CACHE_BYTES", 200 * cache_budget.ENTRY_BYTES)
    monkeypatch.setattr(store, "_budget", cache_budget.CacheBudget())
    for number in range(20):
        for item in range(100):
            body = child(str(item), uid=f"{number}-{item}", version=1 + item)
            body["metadata"]["namespace"] = f"hostile-{number}"
            store.put("Service", body)
    entries = store._objects["Service"].values()
    assert sum(len(entry.raw) + cache_budget.ENTRY_BYTES for entry in entries) <= 200 * cache_budget.ENTRY_BYTES
    assert len({entry.namespace for entry in entries}) > 8
