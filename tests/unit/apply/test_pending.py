"""Test which children of a paused server do not follow its spec."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apply.scene import KEY, Scene
from vllm_operator.apply.pending import pending_children


def pending(scene: Scene) -> tuple[str, ...]:
    return pending_children(scene.store, KEY, scene.server, scene.manifests.values())


async def applied(**spec: Any) -> Scene:
    scene = Scene(**spec)
    await scene.apply()
    return scene


async def test_children_that_were_applied_from_the_spec_are_not_pending() -> None:
    assert pending(await applied(cache={"size": "1Gi"}, replicas=2)) == ()


def test_children_that_do_not_exist_are_pending() -> None:
    assert pending(Scene()) == ("Service", "Deployment")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"image": "vllm/vllm-openai:v0.31.0"}, ("Deployment",)),
        ({}, {"replicas": 3}, ("Deployment", "PodDisruptionBudget")),
        ({}, {"service": {"port": 8080}}, ("Service",)),
        ({}, {"cache": {"size": "1Gi"}}, ("PersistentVolumeClaim", "Deployment")),
        ({"replicas": 2}, {"replicas": 1}, ("Deployment", "PodDisruptionBudget")),
        ({}, {"autoscaling": {"maxReplicas": 3}}, ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")),
    ],
)
async def test_children_that_a_change_concerns_are_pending(
    before: dict[str, Any], after: dict[str, Any], expected: tuple[str, ...]
) -> None:
    scene = await applied(**before)
    scene.set_spec(**after)
    assert pending(scene) == expected


async def test_deployment_that_a_person_scaled_is_pending() -> None:
    scene = await applied(replicas=2)
    live = scene.api.objects["Deployment", "mistral"]
    scene.store.put("Deployment", scene.api.hold({**live, "spec": {**live["spec"], "replicas": 1}}))
    assert pending(scene) == ("Deployment",)


async def test_child_of_another_owner_or_being_deleted_is_pending() -> None:
    scene = await applied()
    live = scene.api.objects["Service", "mistral"]
    scene.store.put("Service", scene.api.hold(live, deletionTimestamp="2026-03-02T08:00:00Z"))
    assert pending(scene) == ("Service",)
    owner = {**live["metadata"]["ownerReferences"][0], "name": "other", "uid": "other"}
    scene.store.put("Service", scene.api.hold(live, ownerReferences=[owner]))
    assert pending(scene) == ("Service",)
