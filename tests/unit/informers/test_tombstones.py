"""Remember deletions, up to a number."""

from __future__ import annotations

import pytest

from tests.unit.informers.objects import child
from vllm_operator.informers import tombstones as module
from vllm_operator.informers.store import Store


def test_oldest_tombstones_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_DELETIONS", 2)
    for uid in ("u1", "u2", "u3"):
        store.remove("Service", child(uid=uid))

    assert [store.put("Service", child(uid=uid)) for uid in ("u3", "u2", "u1")] == [False, False, True]
