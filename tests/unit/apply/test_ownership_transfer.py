"""Test which fields change their owner before a child is applied."""

from __future__ import annotations

import pytest

from tests.unit.apply.scene import Json, Scene
from vllm_operator.apply import write_backoff
from vllm_operator.apply.result import ApplyResult
from vllm_operator.errors import ApiError
from vllm_operator.kube.managed_fields import OWNERSHIP_TRANSFER_MANAGER


def owner_of_replicas(manager: str) -> list[Json]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]


def writes_to(scene: Scene, kind: str) -> list[str]:
    return [verb for verb, of, _ in scene.api.writes if of == kind]


async def test_autoscaled_deployment_with_0_replicas_gets_1() -> None:
    scene = Scene(autoscaling={"maxReplicas": 8})
    await scene.apply()
    live = scene.api.objects["Deployment", "mistral"]
    scene.store.put("Deployment", scene.api.hold({**live, "spec": {**live["spec"], "replicas": 0}}))
    scene.api.requests.clear()
    scene.api.sent.clear()

    assert (await scene.apply()).written == ("Deployment",)
    assert writes_to(scene, "Deployment") == ["apply as vllm-operator-handover", "apply"]
    assert scene.api.sent[0]["spec"] == {"replicas": 1}


async def test_replicas_are_transferred_to_the_autoscaler() -> None:
    """A field that loses its last owner falls back to 1 replica."""
    scene = Scene(replicas=5)
    scene.hold("Deployment", managedFields=owner_of_replicas("vllm-operator"))
    scene.set_spec(replicas=5, autoscaling={"maxReplicas": 8})

    await scene.apply()
    deployment = [request[0] for request in scene.api.writes if request[1] == "Deployment"]
    (handed,) = [sent for sent in scene.api.sent if sent["spec"].keys() == {"replicas"}]

    assert deployment == [f"apply as {OWNERSHIP_TRANSFER_MANAGER}", "apply"]
    assert handed["spec"] == {"replicas": 5}


async def test_autoscaler_never_gets_0_replicas() -> None:
    """An autoscaler ignores a target without replicas."""
    scene = Scene(replicas=0)
    scene.hold("Deployment", managedFields=owner_of_replicas("vllm-operator"))
    scene.set_spec(replicas=0, autoscaling={"maxReplicas": 8})

    await scene.apply()
    (handed,) = [sent for sent in scene.api.sent if sent["spec"].keys() == {"replicas"}]

    assert handed["spec"] == {"replicas": 1}


async def test_replicas_of_another_manager_are_not_transferred() -> None:
    scene = Scene(replicas=5)
    scene.hold("Deployment", managedFields=owner_of_replicas("kube-controller-manager"))
    scene.set_spec(replicas=5, autoscaling={"maxReplicas": 8})

    await scene.apply()

    assert [request[0] for request in scene.api.writes if request[1] == "Deployment"] == ["apply"]


async def test_fields_of_other_managers_are_adopted_before_the_apply() -> None:
    scene = Scene()
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    held = scene.hold("Deployment", managedFields=[edit])

    await scene.apply()
    (patch,) = [sent for sent in scene.api.sent if "managedFields" in sent["metadata"] and "spec" not in sent]

    assert [request[0] for request in scene.api.writes if request[1] == "Deployment"] == ["merge patch", "apply"]
    assert patch["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"], "lest newer edits are lost"
    assert [entry["manager"] for entry in patch["metadata"]["managedFields"]] == ["vllm-operator"]


def edit_of_replicas() -> Json:
    return {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def held_with_an_edit(scene: Scene) -> None:
    """Store a Deployment whose replicas kubectl changed and owns."""
    held = scene.hold("Deployment", cached=False, managedFields=[edit_of_replicas()])
    held["spec"] = {**held["spec"], "replicas": 7}
    scene.api.objects["Deployment", "mistral"] = held
    scene.store.put("Deployment", held)


async def test_edit_of_a_field_of_the_manifest_is_undone_with_one_write(scene: Scene) -> None:
    held_with_an_edit(scene)
    # As the API server does when an apply by force takes the last field of an entry.
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[])

    assert "Deployment" in (await scene.apply()).written
    assert writes_to(scene, "Deployment") == ["apply"]
    assert await scene.apply() == ApplyResult()


async def test_fields_that_force_did_not_take_are_adopted_after_the_apply(scene: Scene) -> None:
    held_with_an_edit(scene)
    answers = iter([[edit_of_replicas()], []])
    scene.api.admission = lambda answer: (
        answer["metadata"].update(managedFields=next(answers)) if answer["kind"] == "Deployment" else None
    )

    assert "Deployment" in (await scene.apply()).written
    assert writes_to(scene, "Deployment") == ["apply", "merge patch", "apply"]
    assert await scene.apply() == ApplyResult()


ADDED: Json = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:externalName": {}}}}


def held_with_an_addition(scene: Scene) -> None:
    held = scene.hold("Service", cached=False)
    held["spec"] = {**held["spec"], "externalName": "example.com"}
    scene.store.put("Service", scene.api.hold(held, managedFields=[ADDED]))


async def test_added_field_is_removed_also_when_the_apply_after_its_adoption_failed(scene: Scene) -> None:
    """The field is no longer foreign and not in the manifest: only the missing hash shows the edit."""
    held_with_an_addition(scene)
    scene.api.errors["apply", "Service"] = ApiError(503, "ServiceUnavailable", "later")
    with pytest.raises(ApiError, match="later"):
        await scene.apply()
    scene.api.errors.clear()
    # The watch reports the adopted fields, perhaps to a new process.
    scene.store.put("Service", scene.api.objects["Service", "mistral"])
    scene.clock.now += write_backoff.MAX_DELAY_SECONDS

    assert "Service" in (await scene.apply()).written
    assert writes_to(scene, "Service") == ["merge patch", "apply", "apply"]


async def test_fields_of_another_object_of_the_same_name_are_not_adopted(scene: Scene) -> None:
    held_with_an_addition(scene)
    owner = [{"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {}}}}]
    scene.api.hold({**scene.api.objects["Service", "mistral"]}, uid="a stranger", managedFields=owner)

    await scene.apply()

    assert "merge patch" not in writes_to(scene, "Service")
