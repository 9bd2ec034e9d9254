"""Two servers whose children would have the same names: one has them, the other is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL
from tests.helpers.status_inputs import condition_of, conditions
from tests.unit.controller.reconciler.scene import Scene
from vllm_operator.api.names import child_name
from vllm_operator.kube.key import Key

LONG = "m" * 100
SHORT = child_name(LONG)
KEY = Key("llm", SHORT)


def held(scene: Scene, name: str) -> None:
    body = {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": "VLLMServer",
        "metadata": {"name": name, "namespace": "llm", "uid": f"uid-of-{name}", "generation": 1},
        "spec": {"model": MODEL},
    }
    scene.store.put("VLLMServer", scene.api.hold(body))


def status(scene: Scene, name: str) -> dict[str, Any]:
    return scene.api.objects["VLLMServer", name].get("status", {})  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", [(LONG, SHORT), (SHORT, LONG)])
async def test_first_server_keeps_its_children_and_the_other_is_refused(order: tuple[str, str]) -> None:
    scene = Scene()
    first, second = order
    held(scene, first)
    await scene.reconciler.reconcile(KEY)
    held(scene, second)
    for _ in range(3):
        await scene.reconciler.reconcile(KEY)

    deployment = scene.api.objects["Deployment", SHORT]
    (owner,) = deployment["metadata"]["ownerReferences"]
    assert owner["name"] == first
    assert condition_of(status(scene, second), "Accepted") == ("False", "NameTaken")
    message = conditions(status(scene, second))["Accepted"]["message"]
    assert f"named {SHORT}, as those of VLLMServer {first}" in message
    assert len([kind for verb, kind, _ in scene.api.requests if (verb, kind) == ("apply", "Deployment")]) == 1


async def test_refused_server_gets_the_name_when_the_other_is_gone() -> None:
    scene = Scene()
    held(scene, LONG)
    await scene.reconciler.reconcile(KEY)
    held(scene, SHORT)
    await scene.reconciler.reconcile(KEY)
    scene.store.remove("VLLMServer", scene.api.objects.pop(("VLLMServer", LONG)))
    await scene.reconciler.reconcile(KEY)
    snapshot = scene.store.snapshot(KEY)
    assert snapshot is not None
    assert snapshot.server["metadata"]["name"] == SHORT
    assert scene.store.namesakes(KEY) == []
