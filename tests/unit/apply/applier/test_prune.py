"""Test which children are deleted because the spec no longer asks for them."""

from __future__ import annotations

import pytest

from tests.helpers.specs import UID
from tests.unit.apply.scene import KEY, Json, Scene


async def test_prune_deletes_the_very_child_that_the_spec_no_longer_asks_for() -> None:
    scene = Scene(replicas=2)
    held = scene.hold("PodDisruptionBudget")
    scene.set_spec(replicas=1)

    await scene.prune()

    assert scene.api.requests == [("delete", "PodDisruptionBudget", "mistral")]
    assert scene.api.sent == [held["metadata"]["uid"]]


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": []},
        {"ownerReferences": [{"kind": "VLLMServer", "name": "mistral", "uid": "former", "controller": True}]},
        {"ownerReferences": [{"kind": "VLLMServer", "name": "mistral", "uid": UID}]},
        {"deletionTimestamp": "2026-03-02T08:00:00Z"},
    ],
    ids=["unowned", "of a former server", "not controlled", "being deleted"],
)
async def test_prune_leaves_objects_of_other_owners(metadata: Json) -> None:
    scene = Scene(replicas=2)
    scene.hold("PodDisruptionBudget", **metadata)
    scene.set_spec(replicas=1)

    await scene.prune()

    assert scene.api.requests == []


async def test_prune_leaves_unknown_kinds() -> None:
    scene = Scene(replicas=2)
    scene.hold("PodDisruptionBudget")
    scene.set_spec(replicas=1)

    await scene.applier.prune(KEY, scene.server, scene.history, [], unknown_kinds=["PodDisruptionBudget"])

    assert scene.api.requests == []


async def test_prune_keeps_children_that_the_spec_asks_for(scene: Scene) -> None:
    await scene.apply()
    scene.api.requests.clear()

    await scene.prune()

    assert scene.api.requests == []


async def test_kept_claim_is_not_pruned() -> None:
    scene = Scene(cache={"size": "1Gi"})
    scene.hold("PersistentVolumeClaim")
    scene.set_spec()

    await scene.prune()

    assert scene.api.requests == []
