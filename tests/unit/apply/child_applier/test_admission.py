"""Test children that admission policies, webhooks or the API server change."""

from __future__ import annotations

import pytest

from tests.helpers.fakes import merged
from tests.helpers.specs import body
from tests.unit.apply.scene import Json, Scene
from tests.unit.informers.objects import take_list
from vllm_operator.api.names import LABEL_MANAGED_BY
from vllm_operator.apply.admission_changes import AdmissionChanges
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.apply.result import ApplyResult


async def test_child_that_admission_changes_is_not_applied_again(scene: Scene) -> None:
    """Such as a webhook that renames images, or a default for an empty string."""

    def mutate(answer: Json) -> None:
        if answer["kind"] == "Deployment":
            answer["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/vllm"

    scene.api.admission = mutate
    await scene.apply()
    scene.api.requests.clear()

    change = "changes Deployment mistral: spec.template.spec.containers[vllm].image"
    note = f"an admission policy, a webhook or the API server {change}"
    assert await scene.apply() == ApplyResult(admission_changes=AdmissionChanges((note,)))
    assert scene.api.requests == []


async def test_child_that_loses_its_label_is_read_and_repaired(scene: Scene) -> None:
    def mutate(answer: Json) -> None:
        answer["metadata"]["labels"] = {**answer["metadata"]["labels"], LABEL_MANAGED_BY: "platform"}

    scene.api.admission = mutate
    await scene.apply()
    assert (await scene.apply()).admission_changes.unlabelled
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"

    assert (await scene.apply()).written == ("Service",)


async def test_edit_of_a_child_that_lost_all_labels_is_undone(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["metadata"].update(labels=None)
    await scene.apply()
    take_list(scene.store, "Service", [], scene.store.uids("Service"), "5000")
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"

    assert (await scene.apply()).written == ("Service",)


async def test_unlabelled_child_is_reported_also_after_a_list_without_it(scene: Scene) -> None:
    def mutate(answer: Json) -> None:
        answer["metadata"]["labels"] = {**answer["metadata"]["labels"], LABEL_MANAGED_BY: "platform"}

    scene.api.admission = mutate
    await scene.apply()
    take_list(scene.store, "Service", [], scene.store.uids("Service"), "9999")

    outcome = await scene.apply()
    assert outcome.admission_changes.unlabelled
    assert len(outcome.admission_changes.notes) == len(scene.manifests)


async def test_deleted_unlabelled_child_is_created_again(scene: Scene) -> None:
    scene.api.hold(body())
    scene.api.admission = lambda answer: answer["metadata"].update(labels=None)
    await scene.apply()
    del scene.api.objects["Service", "mistral"]

    assert (await scene.apply()).written == ("Service",)
    assert ("Service", "mistral") in scene.api.objects


async def test_admission_change_that_another_writer_undid_is_no_longer_reported(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    await scene.apply()
    live = scene.api.objects["Deployment", "mistral"]
    live["spec"]["replicas"] = 1
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Deployment", live)

    assert not (await scene.apply()).admission_changes.replicas_overridden


async def test_admission_change_is_undone_at_a_recheck_once_the_policy_is_gone(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    await scene.apply()
    scene.clock.now += ADMISSION_RECHECK_SECONDS
    assert "Deployment" in (await scene.apply()).written, "the policy is asked again"
    assert (await scene.apply()).written == ()
    scene.api.admission = lambda answer: None
    scene.clock.now += ADMISSION_RECHECK_SECONDS - 1
    assert (await scene.apply()).written == ()
    scene.clock.now += 1

    assert "Deployment" in (await scene.apply()).written
    assert (await scene.apply()) == ApplyResult()
    assert scene.api.objects["Deployment", "mistral"]["spec"]["replicas"] == 1


async def test_admission_change_is_no_longer_reported_once_a_new_manifest_is_stored_unchanged(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    assert (await scene.apply()).admission_changes.replicas_overridden
    scene.api.admission = lambda answer: None
    scene.set_spec(image="vllm/vllm-openai:v0.31.0")

    assert (await scene.apply()).admission_changes == AdmissionChanges()


async def test_admission_changes_are_forgotten_with_the_history_of_the_server(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    assert (await scene.apply()).admission_changes.notes
    scene.history = scene.applier.new_history()

    assert await scene.apply() == ApplyResult()


async def test_child_with_an_admission_change_is_repaired_after_a_further_edit(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(sessionAffinity="None", type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


EDITED_METADATA: list[Json] = [
    {"labels": {"app.kubernetes.io/part-of": "edited"}},
    {"annotations": {"vllm-operator.dev/server": None}},
    {"ownerReferences": []},
]


@pytest.mark.parametrize("edit", EDITED_METADATA, ids=lambda edit: next(iter(edit)))
async def test_metadata_of_a_child_with_an_admission_change_are_repaired(scene: Scene, edit: Json) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["metadata"] = {**merged(live["metadata"], edit), "resourceVersion": "9999"}
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


async def test_metadata_that_other_writers_add_to_a_child_with_an_admission_change_stay(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    added = {"labels": {"team": "ml"}, "annotations": {"note": "mine"}}
    live["metadata"] = {**merged(live["metadata"], added), "resourceVersion": "9999"}
    live["metadata"]["ownerReferences"].append({"kind": "Team", "name": "ml", "uid": "u-team"})
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ()
