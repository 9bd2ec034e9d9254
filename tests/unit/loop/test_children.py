"""Applying and pruning children: what is ours, what is not, and what goes wrong."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.support.specs import UID, body
from tests.unit.loop.fakes import FakeApiClient, FakeClock
from vllm_operator.cluster import repairs
from vllm_operator.cluster.children import NO_VERSION, Children
from vllm_operator.cluster.drift import HANDOVER_MANAGER
from vllm_operator.cluster.outcome import Outcome, OwnerGoneError
from vllm_operator.cluster.store import Key, Store
from vllm_operator.desired import desired_state
from vllm_operator.errors import ApiError

KEY = Key("llm", "mistral")
Json = dict[str, Any]


class Scene:
    """A server in the caches, and an API server in memory."""

    def __init__(self, **spec: Any) -> None:
        self.api, self.store, self.clock = FakeApiClient(), Store(), FakeClock()
        self.children = Children(self.api, self.store, self.clock)  # type: ignore[arg-type]
        self.wants(**spec)

    def wants(self, **spec: Any) -> None:
        """Change the spec."""
        desired = desired_state(body(**spec), frozenset(), None)
        self.server = desired.server
        self.manifests = {manifest.kind: manifest for manifest in desired.manifests}
        self.store.put("VLLMServer", body(**spec))

    async def apply(self) -> Outcome:
        return await self.children.apply(KEY, self.server, list(self.manifests.values()))

    async def prune(self) -> None:
        await self.children.prune(KEY, self.server, list(self.manifests.values()))

    def hold(self, kind: str, *, seen: bool = True, **metadata: Any) -> Json:
        """Have a child on the server, and in the caches when it was `seen`."""
        held = self.api.hold(self.manifests[kind].body, **metadata)
        if seen:
            self.store.put(kind, held)
        return held


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_new_children_are_applied_in_their_entirety(scene: Scene) -> None:
    outcome = await scene.apply()

    assert sorted(outcome.written) == ["Deployment", "Service"]
    (sent,) = [sent for sent in scene.api.sent if sent["kind"] == "Service"]
    assert sent["metadata"].pop("resourceVersion") == NO_VERSION
    assert sent == scene.manifests["Service"].body
    assert {verb for verb, _, _ in scene.api.requests} == {"apply"}, "nothing is read before"


async def test_a_second_pass_writes_and_asks_nothing(scene: Scene) -> None:
    await scene.apply()
    scene.api.requests.clear()

    assert await scene.apply() == Outcome()
    assert scene.api.requests == []


async def test_only_what_changed_is_applied(scene: Scene) -> None:
    await scene.apply()
    scene.wants(service={"port": 81})
    scene.api.requests.clear()

    assert (await scene.apply()).written == ("Service",)
    assert scene.api.requests == [("apply", "Service", "mistral")]


async def test_an_apply_names_the_object_that_it_means(scene: Scene) -> None:
    held = scene.hold("Service", annotations={})
    await scene.apply()
    (sent,) = [sent for sent in scene.api.sent if sent["kind"] == "Service"]

    assert sent["metadata"]["uid"] == held["metadata"]["uid"]


async def test_a_drifted_child_is_repaired(scene: Scene) -> None:
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["type"] = "NodePort"
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


async def test_a_child_that_is_not_in_the_cache_is_not_written_over(scene: Scene) -> None:
    held = scene.hold("Service", seen=False)
    scene.hold("Deployment", seen=False)

    assert await scene.apply() == Outcome()
    assert scene.api.objects["Service", "mistral"] == held
    assert scene.store.get("Service", "llm", "mistral") is not None


async def test_a_drifted_child_that_is_not_in_the_cache_is_repaired(scene: Scene) -> None:
    held = scene.hold("Service", seen=False)
    scene.api.objects["Service", "mistral"]["spec"] = {**held["spec"], "type": "NodePort"}

    await scene.apply()

    assert scene.api.objects["Service", "mistral"]["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize("seen", [True, False])
async def test_a_foreign_object_of_the_name_is_left_alone(scene: Scene, seen: bool) -> None:
    held = scene.hold("Service", seen=seen, labels={}, annotations={}, ownerReferences=[])

    outcome = await scene.apply()

    assert [problem.reason for problem in outcome.problems] == ["NameTaken"]
    assert "Service named mistral" in outcome.problems[0].message
    assert outcome.problems[0].message.startswith("metadata.name: ")
    assert scene.api.objects["Service", "mistral"] == held
    assert ("Deployment", "mistral") in scene.api.objects, "the others are applied all the same"
    scene.api.requests.clear()
    await scene.apply()
    assert scene.api.writes == [], "what is known to be foreign is not tried"


async def test_a_child_that_is_gone_though_the_cache_holds_it_is_made_anew(scene: Scene) -> None:
    await scene.apply()
    scene.api.objects["VLLMServer", "mistral"] = body()
    del scene.api.objects["Service", "mistral"]
    scene.wants(service={"port": 81})
    with pytest.raises(ApiError, match="uid mismatch"):
        await scene.apply()

    assert (await scene.apply()).written == ("Service",)


async def test_a_name_that_became_free_is_taken(scene: Scene) -> None:
    scene.hold("Service", seen=False, labels={}, annotations={}, ownerReferences=[])
    scene.api.objects["VLLMServer", "mistral"] = body()
    await scene.apply()
    del scene.api.objects["Service", "mistral"]

    assert await scene.apply() == Outcome(written=("Service",))


async def test_the_child_of_another_owner_is_left_alone(scene: Scene) -> None:
    other = {"apiVersion": "apps/v1", "kind": "Other", "name": "mistral", "uid": "x", "controller": True}
    scene.hold("Service", ownerReferences=[other])

    assert [problem.reason for problem in (await scene.apply()).problems] == ["NameTaken"]


async def test_the_child_of_a_former_server_of_the_name_is_taken_over(scene: Scene) -> None:
    (owner,) = scene.manifests["Service"].body["metadata"]["ownerReferences"]
    former = {**owner, "uid": "former"}
    scene.hold("Service", ownerReferences=[former])

    assert "Service" in (await scene.apply()).written


async def test_a_kept_claim_is_taken_up_again() -> None:
    scene = Scene(cache={"size": "1Gi", "retain": False})
    scene.hold("PersistentVolumeClaim", ownerReferences=[])

    outcome = await scene.apply()

    assert outcome.problems == ()
    assert "PersistentVolumeClaim" in outcome.written


async def test_a_child_that_is_being_deleted_is_waited_for(scene: Scene) -> None:
    scene.hold("Service", deletionTimestamp="2026-03-02T08:00:00Z", annotations={})

    await scene.apply()

    assert ("apply", "Service", "mistral") not in scene.api.requests


async def tries(scene: Scene, seconds: float) -> list[float]:
    """When the Service is sent, while its server is looked at every half second."""
    times, end = [], scene.clock.now + seconds
    began = scene.clock.now
    while scene.clock.now < end:
        scene.api.requests.clear()
        try:
            await scene.apply()
        except ApiError:
            pass
        if ("apply", "Service", "mistral") in scene.api.requests:
            times.append(scene.clock.now - began)
        scene.clock.now += 0.5
    return times


@pytest.mark.parametrize(
    ("status", "first"), [(422, repairs.REFUSAL_SECONDS), (500, repairs.FAILURE_SECONDS), (0, repairs.FAILURE_SECONDS)]
)
async def test_what_failed_is_sent_again_after_growing_pauses_however_often_its_server_is_looked_at(
    scene: Scene, status: int, first: float
) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(status, "Invalid", "spec.ports[0]: no")
    times = await tries(scene, 1800)
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]

    assert len(pauses) > 5
    for number, pause in enumerate(pauses):
        planned = min(first * 2**number, repairs.LONGEST_SECONDS)
        assert 0.6 * planned <= pause <= 0.8 * planned + 1.0


async def test_a_refusal_is_told_also_while_it_is_not_sent_again(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    first = await scene.apply()
    scene.api.requests.clear()

    assert (await scene.apply()).problems == first.problems
    assert scene.api.requests == []


async def test_a_write_that_took_effect_though_it_failed_is_no_failure(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(504, "Timeout", "no answer")
    with pytest.raises(ApiError):
        await scene.apply()
    scene.store.put("Service", scene.api.hold(scene.manifests["Service"].body))

    assert (await scene.apply()).problems == ()


async def test_a_conflict_with_nothing_is_not_looked_into_every_time(scene: Scene) -> None:
    scene.api.errors["apply", "Service"] = ApiError(409, "Conflict", "injected")
    looks = []
    for _ in range(4):
        scene.api.requests.clear()
        with pytest.raises(ApiError):
            await scene.apply()
        looks.append(("get", "Service", "mistral") in scene.api.requests)
        scene.clock.now += 60

    assert looks == [True, False, True, False]


async def test_after_a_common_cause_what_failed_is_sent_at_once(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    await scene.apply()
    scene.children.retry_failed()
    scene.api.errors.clear()

    assert (await scene.apply()).written == ("Service",)


async def test_another_manifest_is_sent_in_spite_of_a_refusal(scene: Scene) -> None:
    scene.api.objects["VLLMServer", "mistral"] = body()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")
    await scene.apply()
    scene.wants(service={"port": 81})
    scene.api.requests.clear()
    await scene.apply()

    assert ("apply", "Service", "mistral") in scene.api.requests


@pytest.mark.parametrize("status", [400, 403, 405, 413, 422])
async def test_a_refusal_is_a_problem_that_names_the_field(scene: Scene, status: int) -> None:
    scene.api.errors["apply", "Service"] = ApiError(status, "Invalid", "spec.ports[0]: no")

    outcome = await scene.apply()

    assert [problem.reason for problem in outcome.problems] == ["ChildRefused"]
    assert outcome.problems[0].message == "spec.service.port: the API server refuses Service mistral: spec.ports[0]: no"
    assert outcome.written == ("Deployment",)


@pytest.mark.parametrize("status", [0, 409, 429, 500, 503])
async def test_what_may_pass_is_raised_when_all_others_are_written(scene: Scene, status: int) -> None:
    scene.api.errors["apply", "Service"] = ApiError(status, "Later", "not now")

    with pytest.raises(ApiError, match="not now"):
        await scene.apply()

    assert ("apply", "Deployment", "mistral") in scene.api.requests


@pytest.mark.parametrize("change", ["gone", "replaced", "deleted"])
async def test_nothing_is_written_for_a_server_that_has_gone(scene: Scene, change: str) -> None:
    successor: Json = body(uid="another")
    scene.store.remove("VLLMServer", body())
    if change == "replaced":
        scene.store.put("VLLMServer", successor)
    if change == "deleted":
        scene = Scene()
        dying = body()
        dying["metadata"].update(resourceVersion="2", deletionTimestamp="2026-03-02T08:00:00Z")
        scene.store.put("VLLMServer", dying)

    with pytest.raises(OwnerGoneError):
        await scene.apply()

    assert scene.api.writes == []


async def test_nothing_more_is_written_once_the_server_goes(scene: Scene) -> None:
    scene.api.before_write = lambda _: scene.store.remove("VLLMServer", body())

    with pytest.raises(OwnerGoneError):
        await scene.apply()

    assert len(scene.api.writes) == 1


async def test_prune_removes_what_the_spec_no_longer_asks_for_and_that_very_object() -> None:
    scene = Scene(replicas=2)
    held = scene.hold("PodDisruptionBudget")
    scene.wants(replicas=1)

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
async def test_prune_leaves_what_is_not_the_servers(metadata: Json) -> None:
    scene = Scene(replicas=2)
    scene.hold("PodDisruptionBudget", **metadata)
    scene.wants(replicas=1)

    await scene.prune()

    assert scene.api.requests == []


async def test_prune_spares_what_the_api_server_is_not_known_to_have() -> None:
    scene = Scene(replicas=2)
    scene.hold("PodDisruptionBudget")
    scene.wants(replicas=1)

    await scene.children.prune(KEY, scene.server, [], spared=["PodDisruptionBudget"])

    assert scene.api.requests == []


async def test_prune_keeps_what_is_wanted(scene: Scene) -> None:
    await scene.apply()
    scene.api.requests.clear()

    await scene.prune()

    assert scene.api.requests == []


async def test_a_kept_claim_is_not_pruned() -> None:
    scene = Scene(cache={"size": "1Gi"})
    scene.hold("PersistentVolumeClaim")
    scene.wants()

    await scene.prune()

    assert scene.api.requests == []


def owner_of_replicas(manager: str) -> list[Json]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]


async def test_replicas_are_handed_over_to_the_autoscaler() -> None:
    """A field that loses its last owner falls back to 1 replica."""
    scene = Scene(replicas=5)
    scene.hold("Deployment", managedFields=owner_of_replicas("vllm-operator"))
    scene.wants(replicas=5, autoscaling={"maxReplicas": 8})

    await scene.apply()
    deployment = [request[0] for request in scene.api.writes if request[1] == "Deployment"]
    (handed,) = [sent for sent in scene.api.sent if sent["spec"].keys() == {"replicas"}]

    assert deployment == [f"apply as {HANDOVER_MANAGER}", "apply"]
    assert handed["spec"] == {"replicas": 5}


async def test_an_autoscaler_never_takes_over_zero_replicas() -> None:
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


EDIT: Json = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}


async def test_an_edit_that_comes_with_the_answer_to_an_apply_is_told_and_removed_by_the_next_pass() -> None:
    scene = Scene()
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[EDIT])
    assert (await scene.apply()).edited == ("Service", "Deployment")
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[])

    assert await scene.apply() == Outcome(written=("Service", "Deployment"))
    assert await scene.apply() == Outcome()


async def test_a_foreign_field_that_nothing_removes_is_fought_only_so_often() -> None:
    scene = Scene()
    scene.api.admission = lambda answer: answer["metadata"].update(managedFields=[EDIT])
    for _ in range(repairs.BURST + 1):
        assert (await scene.apply()).edited
    with pytest.raises(ApiError, match="keeps changing"):
        await scene.apply()


async def test_a_child_that_someone_keeps_changing_is_repaired_only_so_often(scene: Scene) -> None:
    await scene.apply()

    async def fight() -> None:
        live = scene.api.objects["Service", "mistral"]
        live["spec"] = {**live["spec"], "type": "NodePort"}
        live["metadata"]["resourceVersion"] = str(int(live["metadata"]["resourceVersion"]) + 1000)
        scene.store.put("Service", live)
        await scene.apply()

    for _ in range(repairs.BURST):
        await fight()
    with pytest.raises(ApiError, match="keeps changing Service mistral") as caught:
        await fight()
    assert caught.value.retry_after == repairs.WINDOW_SECONDS

    scene.clock.now += repairs.WINDOW_SECONDS
    await fight()


async def test_what_the_api_server_makes_of_a_manifest_is_not_fought(scene: Scene) -> None:
    """A webhook that renames images, or a default that is filled in for an empty text."""

    def mutate(answer: Json) -> None:
        if answer["kind"] == "Deployment":
            answer["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.example/vllm"

    scene.api.admission = mutate
    await scene.apply()
    scene.api.requests.clear()

    assert await scene.apply() == Outcome()
    assert scene.api.requests == []


async def test_a_mutated_child_is_still_repaired_when_it_changes_further(scene: Scene) -> None:
    scene.api.admission = lambda answer: answer["spec"].update(sessionAffinity="None", type="NodePort")
    await scene.apply()
    live = scene.api.objects["Service", "mistral"]
    live["spec"]["ports"] = []
    live["metadata"]["resourceVersion"] = "9999"
    scene.store.put("Service", live)

    assert (await scene.apply()).written == ("Service",)


def test_a_budget_forgets_what_was_repaired_long_ago() -> None:
    clock = FakeClock()
    budget = repairs.RepairBudget(clock)
    for number in range(100):
        budget.take(f"uid-{number}")
        clock.now += repairs.WINDOW_SECONDS

    assert len(budget._repairs) == 1
