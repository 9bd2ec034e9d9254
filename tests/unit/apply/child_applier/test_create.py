"""Test how children are created, and which objects are left to other owners."""

from __future__ import annotations

import pytest

from tests.helpers.specs import body
from tests.unit.apply.scene import Scene
from vllm_operator.apply.child_applier import UNUSED_VERSION
from vllm_operator.apply.result import ApplyResult
from vllm_operator.errors import ApiError


async def test_new_children_are_applied_without_a_read(scene: Scene) -> None:
    outcome = await scene.apply()

    assert sorted(outcome.written) == ["Deployment", "Service"]
    (sent,) = [sent for sent in scene.api.sent if sent["kind"] == "Service"]
    assert sent["metadata"].pop("resourceVersion") == UNUSED_VERSION
    assert sent == scene.manifests["Service"].body
    assert {verb for verb, _, _ in scene.api.requests} == {"apply"}, "no object is read before"


async def test_second_reconcile_makes_no_call(scene: Scene) -> None:
    await scene.apply()
    scene.api.requests.clear()

    assert await scene.apply() == ApplyResult()
    assert scene.api.requests == []


async def test_child_absent_from_the_cache_is_not_overwritten(scene: Scene) -> None:
    held = scene.hold("Service", cached=False)
    scene.hold("Deployment", cached=False)

    assert await scene.apply() == ApplyResult()
    assert scene.api.objects["Service", "mistral"] == held
    assert scene.store.get("Service", "llm", "mistral") is not None


async def test_child_without_annotations_and_owner_is_recognized_by_its_labels(scene: Scene) -> None:
    """A kept claim has no owner, and annotations are easily lost."""
    scene.hold("Service", annotations={}, ownerReferences=[])

    assert "Service" in (await scene.apply()).written


@pytest.mark.parametrize("label", ["app.kubernetes.io/managed-by", "app.kubernetes.io/instance"])
async def test_object_with_a_part_of_the_labels_is_foreign(scene: Scene, label: str) -> None:
    labels = {**scene.manifests["Service"].body["metadata"]["labels"], label: "other"}
    scene.hold("Service", annotations={}, ownerReferences=[], labels=labels)

    assert [problem.reason for problem in (await scene.apply()).problems] == ["NameTaken"]


@pytest.mark.parametrize("cached", [True, False])
async def test_foreign_object_of_the_name_is_left_alone(scene: Scene, cached: bool) -> None:
    held = scene.hold("Service", cached=cached, labels={}, annotations={}, ownerReferences=[])

    outcome = await scene.apply()

    assert [problem.reason for problem in outcome.problems] == ["NameTaken"]
    assert "Service named mistral" in outcome.problems[0].message
    assert outcome.problems[0].message.startswith("metadata.name: ")
    assert scene.api.objects["Service", "mistral"] == held
    assert ("Deployment", "mistral") in scene.api.objects, "the other children are applied"
    scene.api.requests.clear()
    await scene.apply()
    assert scene.api.writes == [], "a name that is known to be taken is not written"


async def test_deleted_child_that_the_cache_still_holds_is_created_again(scene: Scene) -> None:
    await scene.apply()
    scene.api.objects["VLLMServer", "mistral"] = body()
    del scene.api.objects["Service", "mistral"]
    scene.set_spec(service={"port": 81})
    with pytest.raises(ApiError, match="uid mismatch"):
        await scene.apply()

    assert (await scene.apply()).written == ("Service",)


async def test_child_is_created_once_its_name_is_free(scene: Scene) -> None:
    scene.hold("Service", cached=False, labels={}, annotations={}, ownerReferences=[])
    scene.api.objects["VLLMServer", "mistral"] = body()
    await scene.apply()
    del scene.api.objects["Service", "mistral"]

    assert await scene.apply() == ApplyResult(written=("Service",))


async def test_child_of_another_owner_is_left_alone(scene: Scene) -> None:
    other = {"apiVersion": "apps/v1", "kind": "Other", "name": "mistral", "uid": "x", "controller": True}
    scene.hold("Service", ownerReferences=[other])

    assert [problem.reason for problem in (await scene.apply()).problems] == ["NameTaken"]


async def test_child_of_a_deleted_server_of_the_same_name_is_adopted(scene: Scene) -> None:
    (owner,) = scene.manifests["Service"].body["metadata"]["ownerReferences"]
    former = {**owner, "uid": "former"}
    scene.hold("Service", ownerReferences=[former])

    assert "Service" in (await scene.apply()).written


async def test_kept_claim_is_adopted() -> None:
    scene = Scene(cache={"size": "1Gi", "retain": False})
    scene.hold("PersistentVolumeClaim", ownerReferences=[])

    outcome = await scene.apply()

    assert outcome.problems == ()
    assert "PersistentVolumeClaim" in outcome.written


async def test_child_that_is_being_deleted_is_not_written(scene: Scene) -> None:
    scene.hold("Service", deletionTimestamp="2026-03-02T08:00:00Z", annotations={})

    await scene.apply()

    assert ("apply", "Service", "mistral") not in scene.api.requests
