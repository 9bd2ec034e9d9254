"""Remember deletions, up to a number."""

from __future__ import annotations

import pytest

from tests.unit.informers.objects import child
from vllm_operator.informers import tombstones as module
from vllm_operator.informers.store import Store
from vllm_operator.informers.tombstones import Tombstones


def test_oldest_tombstones_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_DELETIONS", 2)
    for uid in ("u1", "u2", "u3"):
        store.remove("Service", child(uid=uid))

    assert [store.put("Service", child(uid=uid)) for uid in ("u3", "u2", "u1")] == [False, False, True]


def test_deletions_of_one_namespace_make_no_other_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_DELETIONS", 10)
    tombstones = Tombstones()
    tombstones.add("quiet", "q", "5")
    for number in range(1000):
        tombstones.add("flood", f"f{number}", "5")

    assert tombstones.bars("quiet", "q", "5", unlabelled=False)
    assert sum(tombstones.bars("flood", f"f{number}", "5", unlabelled=False) for number in range(1000)) == 9
    assert tombstones.bars("flood", "f999", "5", unlabelled=False)


def test_same_deletion_is_remembered_once() -> None:
    tombstones = Tombstones()
    for version in ("5", "6"):
        tombstones.add("llm", "u1", version)
    assert tombstones._count == 1
    assert tombstones.bars("llm", "u1", "6", unlabelled=False)
