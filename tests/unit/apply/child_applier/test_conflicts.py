"""Test children that another writer keeps changing or deleting: the rate of repairs, and the messages."""

from __future__ import annotations

import pytest

from tests.helpers.specs import body
from tests.unit.apply.scene import EDIT, Json, Scene
from vllm_operator.apply import repair_limiter
from vllm_operator.errors import ApiError


async def test_foreign_field_that_no_apply_removes_is_repaired_at_a_limited_rate() -> None:
    scene = Scene()
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[EDIT])
    for _ in range(repair_limiter.MAX_REPAIRS + 1):
        assert (await scene.apply()).edited_concurrently
    with pytest.raises(ApiError, match="keeps changing"):
        await scene.apply()


async def test_child_that_another_writer_keeps_changing_is_repaired_at_a_limited_rate(scene: Scene) -> None:
    await scene.apply()

    async def edit_and_apply() -> None:
        live = scene.api.objects["Service", "mistral"]
        live["spec"] = {**live["spec"], "type": "NodePort"}
        live["metadata"]["resourceVersion"] = str(int(live["metadata"]["resourceVersion"]) + 1000)
        scene.store.put("Service", live)
        await scene.apply()

    for _ in range(repair_limiter.MAX_REPAIRS):
        await edit_and_apply()
    with pytest.raises(ApiError, match="keeps changing Service mistral") as caught:
        await edit_and_apply()
    assert caught.value.retry_after == repair_limiter.WINDOW_SECONDS

    scene.clock.now += repair_limiter.WINDOW_SECONDS
    await edit_and_apply()


async def test_child_whose_hash_another_writer_keeps_changing_is_repaired_at_a_limited_rate(scene: Scene) -> None:
    """Such as a tool that keeps applying an old copy."""
    await scene.apply()

    async def edit_and_apply() -> None:
        live = scene.api.objects["Service", "mistral"]
        live["metadata"]["annotations"]["vllm-operator.dev/applied-hash"] = "old"
        live["metadata"]["resourceVersion"] = str(int(live["metadata"]["resourceVersion"]) + 1000)
        scene.store.put("Service", live)
        await scene.apply()

    for _ in range(1 + repair_limiter.MAX_REPAIRS):
        await edit_and_apply()
    with pytest.raises(ApiError, match="keeps changing Service mistral"):
        await edit_and_apply()

    scene.clock.now += repair_limiter.WINDOW_SECONDS
    await edit_and_apply()


HPA: Json = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "scale",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (HPA, "an autoscaler keeps changing the replicas of Deployment mistral"),
        ({**HPA, "manager": "kubectl"}, "kubectl keeps changing Deployment mistral"),
        (EDIT, "kubectl-edit keeps changing Deployment mistral"),
    ],
    ids=["autoscaler", "kubectl scale", "kubectl edit"],
)
async def test_conflict_is_reported_until_it_ends(scene: Scene, entry: Json, message: str) -> None:
    await scene.apply()
    for number in range(repair_limiter.CONFLICT_REPAIRS):
        live = scene.api.objects["Deployment", "mistral"]
        live["spec"] = {**live["spec"], "replicas": 5 + number}
        version = str(int(live["metadata"]["resourceVersion"]) + 1000)
        live["metadata"] |= {"managedFields": [entry], "resourceVersion": version}
        scene.store.put("Deployment", live)
        live["metadata"]["managedFields"] = []
        assert len((await scene.apply()).conflicts) == (number + 1 == repair_limiter.CONFLICT_REPAIRS)

    (note,) = (await scene.apply()).conflicts
    assert note.startswith(message)
    scene.clock.now += repair_limiter.WINDOW_SECONDS
    assert (await scene.apply()).conflicts == ()


async def test_spec_that_alternates_is_no_conflict(scene: Scene) -> None:
    for number in range(4 * repair_limiter.MAX_REPAIRS):
        scene.set_spec(service={"port": 80 + number % 2})
        await scene.apply()

    assert scene.api.objects["Service", "mistral"]["spec"]["ports"][0]["port"] == 81


async def test_child_that_another_writer_keeps_deleting_is_created_at_a_limited_rate(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    await scene.apply()

    async def delete_and_apply() -> None:
        scene.store.remove("Service", scene.api.objects.pop(("Service", "mistral")))
        await scene.apply()

    for _ in range(1 + repair_limiter.MAX_REPAIRS):
        await delete_and_apply()
    with pytest.raises(ApiError, match="someone keeps deleting Service mistral") as caught:
        await delete_and_apply()
    assert caught.value.retry_after == repair_limiter.WINDOW_SECONDS

    scene.clock.now += repair_limiter.WINDOW_SECONDS
    assert (await scene.apply()).written == ("Service",)


async def test_child_that_the_spec_asks_for_every_other_time_is_no_conflict() -> None:
    scene = Scene(replicas=2)
    scene.api.objects["VLLMServer", "mistral"] = body()
    for _ in range(2 * repair_limiter.MAX_REPAIRS):
        scene.set_spec(replicas=2)
        await scene.apply()
        budget = scene.api.objects["PodDisruptionBudget", "mistral"]
        scene.set_spec(replicas=1)
        await scene.prune()
        scene.store.remove("PodDisruptionBudget", budget)

    assert scene.api.writes.count(("delete", "PodDisruptionBudget", "mistral")) == 2 * repair_limiter.MAX_REPAIRS
