"""A pass brings a server to what it asks for, and then costs nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.specs import body
from tests.unit.controller.reconciler.scene import KEY, Scene, frozen_scene, settled
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.status.settling import SETTLE_SECONDS


async def test_server_gets_its_children_and_its_status() -> None:
    scene = Scene()
    await scene.passes(2)

    assert scene.applied == ["Deployment", "Service"]
    assert scene.condition("Accepted")[0] == "True"
    assert scene.server["status"]["observedGeneration"] == 1


async def test_spec_that_came_with_the_answer_to_a_status_is_carried_out_at_once() -> None:
    scene = Scene()
    await scene.passes()
    # Changed after the pass began: the answer holds it, so that its event tells the cache nothing new.
    scene.api.hold({**scene.server, **body(generation=2, replicas=3)})

    assert await scene.passes() == Requeue.now()
    await scene.passes()
    assert scene.api.objects["Deployment", "mistral"]["spec"]["replicas"] == 3


async def test_edit_that_came_with_the_answer_to_an_apply_is_undone_at_once() -> None:
    scene = Scene()
    await scene.passes()
    # Edited after the pass began: the answer holds it, so that its event tells the cache nothing new.
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    scene.api.admission = lambda held: held["metadata"].update(managedFields=[edit])
    scene.wants(generation=2, replicas=3)

    assert await scene.passes() == Requeue.now()
    scene.api.admission = lambda held: None
    scene.api.requests.clear()
    assert await scene.passes() == Requeue.after(SETTLE_SECONDS), "only the controllers are waited for"
    assert [verb for verb, kind, _ in scene.api.writes if kind == "Deployment"] == ["merge patch", "apply"]


async def test_pass_over_an_unchanged_server_costs_nothing() -> None:
    scene = Scene()
    await scene.passes(3)
    scene.api.requests.clear()

    assert await scene.passes(5) == Requeue.never()
    assert scene.api.requests == []


async def test_restart_writes_nothing_where_all_is_in_place() -> None:
    scene = Scene()
    await scene.passes(3)
    scene.api.requests.clear()

    scene.start()
    await scene.passes(3)

    assert scene.api.requests == []


async def test_restart_in_the_middle_ends_in_the_same_state() -> None:
    whole, broken = Scene(replicas=2), Scene(replicas=2)
    await whole.passes(3)
    broken.api.errors["apply", "Deployment"] = NoAnswerError("Unreachable", "killed")
    with pytest.raises(ApiError):
        await broken.passes()

    broken.api.errors.clear()
    broken.start()
    await broken.passes(3)

    assert {key: held.get("spec") for key, held in broken.api.objects.items()} == {
        key: held.get("spec") for key, held in whole.api.objects.items()
    }


ADDED_STATUS: list[dict[str, Any]] = [
    {"version": "9.9.9"},
    {"capacity": {"concurrency": 3}},
    {"conditions": [{"type": "Theirs", "status": "True"}]},
]


@pytest.mark.parametrize("added", ADDED_STATUS, ids=lambda added: next(iter(added)))
async def test_what_others_add_to_the_status_is_removed_once(added: dict[str, Any]) -> None:
    """An apply leaves the fields of other managers."""
    scene = Scene()
    await scene.passes(2)
    told = scene.server["status"]

    edited = {**told, **added, "conditions": [*told["conditions"], *added.get("conditions", [])]}

    def keep(answer: dict[str, Any]) -> None:
        if answer["kind"] == "VLLMServer":
            answer["status"] = edited

    scene.api.admission = keep
    scene.store.put("VLLMServer", scene.api.hold({**scene.server, "status": edited}))
    scene.api.requests.clear()
    await scene.passes(3)

    assert scene.server["status"] == told
    assert [verb for verb, _, _ in scene.api.writes] == ["apply status", "merge patch status"]


async def test_clock_that_is_set_back_delays_no_status() -> None:
    scene = Scene()
    await scene.passes()
    scene.now -= timedelta(hours=1)
    again = await scene.reconciler.reconcile(KEY)

    assert again.seconds is not None
    assert again.seconds <= SETTLE_SECONDS


async def test_number_of_replicas_that_a_policy_pins_is_told_and_not_waited_for() -> None:
    scene = frozen_scene(replicas=1)
    scene.api.admission = lambda held: held["spec"].update(replicas=2) if held["kind"] == "Deployment" else None
    await settled(scene)
    assert await scene.passes(2) == Requeue.after(ADMISSION_RECHECK_SECONDS)

    accepted = next(entry for entry in scene.server["status"]["conditions"] if entry["type"] == "Accepted")
    words = "an admission policy, a webhook or the API server changes Deployment mistral: spec.replicas"
    assert accepted["message"] == words
    assert scene.condition("Progressing") == ("False", "Complete")
