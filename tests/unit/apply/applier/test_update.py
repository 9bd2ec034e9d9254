"""Changes, edits by others, and the handover of replicas."""

from __future__ import annotations

import pytest

from tests.helpers.fakes import merged
from tests.helpers.specs import body
from tests.unit.apply.applier.scene import EDIT, Json, Scene
from vllm_operator.api.names import LABEL_MANAGED_BY
from vllm_operator.apply import write_backoff
from vllm_operator.apply.admission_changes import AdmissionChanges
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.apply.result import ApplyResult
from vllm_operator.errors import ApiError
from vllm_operator.kube.managed_fields import OWNERSHIP_TRANSFER_MANAGER


async def test_only_what_changed_is_applied(scene: Scene) -> None:
    await scene.apply()
    scene.wants(service={"port": 81})
    scene.api.requests.clear()

    assert (await scene.apply()).written == ("Service",)
    assert scene.api.requests == [("apply", "Service", "mistral")]


async def test_apply_names_the_object_that_it_means(scene: Scene) -> None:
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


async def test_drifted_child_that_is_not_in_the_cache_is_repaired(scene: Scene) -> None:
    held = scene.hold("Service", seen=False)
    scene.api.objects["Service", "mistral"]["spec"] = {**held["spec"], "type": "NodePort"}

    await scene.apply()

    assert scene.api.objects["Service", "mistral"]["spec"]["type"] == "ClusterIP"


def owner_of_replicas(manager: str) -> list[Json]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]


async def test_autoscaled_deployment_without_replicas_is_woken() -> None:
    scene = Scene(autoscaling={"maxReplicas": 8})
    await scene.apply()
    live = scene.api.objects["Deployment", "mistral"]
    scene.store.put("Deployment", scene.api.hold({**live, "spec": {**live["spec"], "replicas": 0}}))
    scene.api.requests.clear()
    scene.api.sent.clear()

    assert (await scene.apply()).written == ("Deployment",)
    assert writes_to(scene, "Deployment") == ["apply as vllm-operator-handover", "apply"]
    assert scene.api.sent[0]["spec"] == {"replicas": 1}


async def test_replicas_are_handed_over_to_the_autoscaler() -> None:
    """A field that loses its last owner falls back to 1 replica."""
    scene = Scene(replicas=5)
    scene.hold("Deployment", managedFields=owner_of_replicas("vllm-operator"))
    scene.wants(replicas=5, autoscaling={"maxReplicas": 8})

    await scene.apply()
    deployment = [request[0] for request in scene.api.writes if request[1] == "Deployment"]
    (handed,) = [sent for sent in scene.api.sent if sent["spec"].keys() == {"replicas"}]

    assert deployment == [f"apply as {OWNERSHIP_TRANSFER_MANAGER}", "apply"]
    assert handed["spec"] == {"replicas": 5}


async def test_autoscaler_never_takes_over_zero_replicas() -> None:
    """It would leave them at zero for ever."""
    scene = Scene(replicas=0)
    scene.hold("Deployment", managedFields=owner_of_replicas("vllm-operator"))
    scene.wants(replicas=0, autoscaling={"maxReplicas": 8})

    await scene.apply()
    (handed,) = [sent for sent in scene.api.sent if sent["spec"].keys() == {"replicas"}]

    assert handed["spec"] == {"replicas": 1}


async def test_replicas_that_another_owns_are_not_touched() -> None:
    scene = Scene(replicas=5)
    scene.hold("Deployment", managedFields=owner_of_replicas("kube-controller-manager"))
    scene.wants(replicas=5, autoscaling={"maxReplicas": 8})

    await scene.apply()

    assert [request[0] for request in scene.api.writes if request[1] == "Deployment"] == ["apply"]


async def test_what_others_wrote_into_the_spec_is_adopted_before_the_apply() -> None:
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


def writes_to(scene: Scene, kind: str) -> list[str]:
    return [verb for verb, of, _ in scene.api.writes if of == kind]


def held_with_an_edit(scene: Scene) -> None:
    """A Deployment with other replicas than the manifest's, which kubectl owns."""
    held = scene.hold("Deployment", seen=False, managedFields=[edit_of_replicas()])
    held["spec"] = {**held["spec"], "replicas": 7}
    scene.api.objects["Deployment", "mistral"] = held
    scene.store.put("Deployment", held)


async def test_edit_of_what_the_manifest_holds_is_undone_with_one_write(scene: Scene) -> None:
    held_with_an_edit(scene)
    # As the API server does when an apply by force takes the last field of an entry.
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[])

    assert "Deployment" in (await scene.apply()).written
    assert writes_to(scene, "Deployment") == ["apply"]
    assert await scene.apply() == ApplyResult()


async def test_what_force_did_not_take_after_all_is_adopted(scene: Scene) -> None:
    held_with_an_edit(scene)
    answers = iter([[edit_of_replicas()], []])
    scene.api.admission = lambda answer: (
        answer["metadata"].update(managedFields=next(answers)) if answer["kind"] == "Deployment" else None
    )

    assert "Deployment" in (await scene.apply()).written
    assert writes_to(scene, "Deployment") == ["apply", "merge patch", "apply"]
    assert await scene.apply() == ApplyResult()


async def test_edit_that_comes_with_the_answer_to_an_apply_is_told_and_removed_by_the_next_pass() -> None:
    scene = Scene()
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[EDIT])
    assert (await scene.apply()).edited_concurrently == ("Service", "Deployment")
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[])

    assert await scene.apply() == ApplyResult(written=("Service", "Deployment"))
    assert await scene.apply() == ApplyResult()


ADDED: Json = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:externalName": {}}}}


def held_with_an_addition(scene: Scene) -> None:
    held = scene.hold("Service", seen=False)
    held["spec"] = {**held["spec"], "externalName": "example.com"}
    scene.store.put("Service", scene.api.hold(held, managedFields=[ADDED]))


async def test_what_others_added_goes_also_when_the_apply_fails_after_its_fields_were_taken(scene: Scene) -> None:
    """Nothing is foreign any more, and what was added is no part of the manifest: only the hash tells."""
    held_with_an_addition(scene)
    scene.api.errors["apply", "Service"] = ApiError(503, "ServiceUnavailable", "later")
    with pytest.raises(ApiError, match="later"):
        await scene.apply()
    scene.api.errors.clear()
    # The watch tells what was taken, perhaps to a new process.
    scene.store.put("Service", scene.api.objects["Service", "mistral"])
    scene.clock.now += write_backoff.MAX_DELAY_SECONDS

    assert "Service" in (await scene.apply()).written
    assert writes_to(scene, "Service") == ["merge patch", "apply", "apply"]


async def test_fields_of_a_stranger_that_took_the_name_are_left_alone(scene: Scene) -> None:
    held_with_an_addition(scene)
    owner = [{"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {}}}}]
    scene.api.hold({**scene.api.objects["Service", "mistral"]}, uid="a stranger", managedFields=owner)

    await scene.apply()

    assert "merge patch" not in writes_to(scene, "Service")


async def test_what_the_api_server_makes_of_a_manifest_is_not_fought(scene: Scene) -> None:
    """A webhook that renames images, or a default that is filled in for an empty text."""

    def mutate(answer: Json) -> None:
        if answer["kind"] == "Deployment":
            answer["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/vllm"

    scene.api.admission = mutate
    await scene.apply()
    scene.api.requests.clear()

    what = "changes Deployment mistral: spec.template.spec.containers[vllm].image"
    words = f"an admission policy, a webhook or the API server {what}"
    assert await scene.apply() == ApplyResult(admission_changes=AdmissionChanges((words,)))
    assert scene.api.requests == []


async def test_child_that_a_policy_hides_from_the_watches_is_looked_at(scene: Scene) -> None:
    def mutate(answer: Json) -> None:
        answer["metadata"]["labels"] = {**answer["metadata"]["labels"], LABEL_MANAGED_BY: "platform"}

    scene.api.admission = mutate
    await scene.apply()
    assert (await scene.apply()).admission_changes.unlabelled
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"

    assert (await scene.apply()).written == ("Service",)


async def test_edit_of_a_child_that_lost_all_its_labels_is_undone(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["metadata"].update(labels=None)
    await scene.apply()
    scene.store.replace("Service", [], scene.store.uids("Service"), "5000")
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"

    assert (await scene.apply()).written == ("Service",)


async def test_hidden_child_is_told_also_after_a_list_that_does_not_show_it(scene: Scene) -> None:
    def mutate(answer: Json) -> None:
        answer["metadata"]["labels"] = {**answer["metadata"]["labels"], LABEL_MANAGED_BY: "platform"}

    scene.api.admission = mutate
    await scene.apply()
    scene.store.replace("Service", [], scene.store.uids("Service"), "9999")

    outcome = await scene.apply()
    assert outcome.admission_changes.unlabelled
    assert len(outcome.admission_changes.notes) == len(scene.manifests)


async def test_hidden_child_that_was_deleted_comes_back(scene: Scene) -> None:
    scene.api.hold(body())
    scene.api.admission = lambda answer: answer["metadata"].update(labels=None)
    await scene.apply()
    del scene.api.objects["Service", "mistral"]

    assert (await scene.apply()).written == ("Service",)
    assert ("Service", "mistral") in scene.api.objects


async def test_what_someone_else_put_back_is_no_longer_told(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    await scene.apply()
    live = scene.api.objects["Deployment", "mistral"]
    live["spec"]["replicas"] = 1
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Deployment", live)

    assert not (await scene.apply()).admission_changes.replicas_overridden


async def test_what_a_policy_changed_is_put_back_by_and_by_when_the_policy_is_gone(scene: Scene) -> None:
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


async def test_what_a_policy_changed_is_no_longer_told_once_it_is_as_it_was_sent(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    assert (await scene.apply()).admission_changes.replicas_overridden
    scene.api.admission = lambda answer: None
    scene.wants(image="vllm/vllm-openai:v0.31.0")

    assert (await scene.apply()).admission_changes == AdmissionChanges()


async def test_admission_changes_are_forgotten_with_the_history_of_the_server(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(replicas=7)
    assert (await scene.apply()).admission_changes.notes
    scene.history = scene.applier.new_history()

    assert await scene.apply() == ApplyResult()


async def test_mutated_child_is_still_repaired_when_it_changes_further(scene: Scene) -> None:
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
async def test_metadata_of_a_mutated_child_are_repaired(scene: Scene, edit: Json) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["metadata"] = {**merged(live["metadata"], edit), "resourceVersion": "9999"}
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


async def test_metadata_that_others_add_to_a_mutated_child_are_left(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    added = {"labels": {"team": "ml"}, "annotations": {"note": "mine"}}
    live["metadata"] = {**merged(live["metadata"], added), "resourceVersion": "9999"}
    live["metadata"]["ownerReferences"].append({"kind": "Team", "name": "ml", "uid": "u-team"})
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ()
