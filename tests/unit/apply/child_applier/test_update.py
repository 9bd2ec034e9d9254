"""Test changed specs and drift."""

from __future__ import annotations

from tests.unit.apply.scene import EDIT, Scene
from vllm_operator.apply.result import ApplyResult


async def test_only_what_changed_is_applied(scene: Scene) -> None:
    await scene.apply()
    scene.set_spec(service={"port": 81})
    scene.api.requests.clear()

    assert (await scene.apply()).written == ("Service",)
    assert scene.api.requests == [("apply", "Service", "mistral")]


async def test_apply_of_an_existing_child_carries_its_uid(scene: Scene) -> None:
    held = scene.hold("Service", annotations={})
    await scene.apply()
    (sent,) = [sent for sent in scene.api.sent if sent["kind"] == "Service"]

    assert sent["metadata"]["uid"] == held["metadata"]["uid"]


async def test_drifted_child_is_repaired(scene: Scene) -> None:
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["type"] = "NodePort"
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


async def test_drifted_child_absent_from_the_cache_is_repaired(scene: Scene) -> None:
    held = scene.hold("Service", cached=False)
    scene.api.objects["Service", "mistral"]["spec"] = {**held["spec"], "type": "NodePort"}

    await scene.apply()

    assert scene.api.objects["Service", "mistral"]["spec"]["type"] == "ClusterIP"


async def test_edit_in_the_response_to_an_apply_is_reported_and_removed_by_the_next_reconcile() -> None:
    scene = Scene()
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[EDIT])
    assert (await scene.apply()).edited_concurrently == ("Service", "Deployment")
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[])

    assert await scene.apply() == ApplyResult(written=("Service", "Deployment"))
    assert await scene.apply() == ApplyResult()
