"""Reconciles bring a server to its desired state, and then cost nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.specs import body
from tests.unit.controller.reconciler.scene import KEY, Scene, settle, stalled_scene
from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.controller.liveness import LONGEST_RECONCILE_SECONDS, RECONCILE_DEADLINE_SECONDS
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.status.settling import SETTLE_SECONDS


async def test_server_gets_its_children_and_its_status() -> None:
    scene = Scene()
    await scene.reconcile(2)

    assert scene.applied == ["Deployment", "Service"]
    assert scene.condition("Accepted")[0] == "True"
    assert scene.server["status"]["observedGeneration"] == 1


async def test_spec_in_the_answer_to_a_status_write_is_reconciled_at_once() -> None:
    scene = Scene()
    await scene.reconcile()
    # Changed after the reconcile began: the answer holds it, so its watch event brings nothing new.
    scene.api.hold({**scene.server, **body(generation=2, replicas=3)})

    assert await scene.reconcile() == Requeue.now()
    await scene.reconcile()
    assert scene.api.objects["Deployment", "mistral"]["spec"]["replicas"] == 3


async def test_edit_in_the_answer_to_an_apply_is_repaired_at_once() -> None:
    scene = Scene()
    await scene.reconcile()
    # Edited after the reconcile began: the answer holds it, so its watch event brings nothing new.
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    scene.api.admission = lambda held: held["metadata"].update(managedFields=[edit])
    scene.set_spec(generation=2, replicas=3)

    assert await scene.reconcile() == Requeue.now()
    scene.api.admission = lambda held: None
    scene.api.requests.clear()
    assert await scene.reconcile() == Requeue.after(SETTLE_SECONDS), "only the controllers are waited for"
    assert [verb for verb, kind, _ in scene.api.writes if kind == "Deployment"] == ["merge patch", "apply"]


async def test_reconcile_of_an_unchanged_server_sends_no_request() -> None:
    scene = Scene()
    await scene.reconcile(3)
    scene.api.requests.clear()

    assert await scene.reconcile(5) == Requeue.never()
    assert scene.api.requests == []


async def test_restart_writes_nothing_where_everything_is_in_place() -> None:
    scene = Scene()
    await scene.reconcile(3)
    scene.api.requests.clear()

    scene.start()
    await scene.reconcile(3)

    assert scene.api.requests == []


async def test_restart_in_the_middle_of_a_reconcile_ends_in_the_same_state() -> None:
    whole, broken = Scene(replicas=2), Scene(replicas=2)
    await whole.reconcile(3)
    broken.api.errors["apply", "Deployment"] = NoAnswerError("Unreachable", "killed")
    with pytest.raises(ApiError):
        await broken.reconcile()

    broken.api.errors.clear()
    broken.start()
    await broken.reconcile(3)

    assert {key: held.get("spec") for key, held in broken.api.objects.items()} == {
        key: held.get("spec") for key, held in whole.api.objects.items()
    }


ADDED_STATUS: list[dict[str, Any]] = [
    {"version": "9.9.9"},
    {"capacity": {"concurrency": 3}},
    {"conditions": [{"type": "Theirs", "status": "True"}]},
]


@pytest.mark.parametrize("added", ADDED_STATUS, ids=lambda added: next(iter(added)))
async def test_status_fields_of_other_managers_are_removed_once(added: dict[str, Any]) -> None:
    """An apply alone keeps the fields of other managers."""
    scene = Scene()
    await scene.reconcile(2)
    written = scene.server["status"]

    edited = {**written, **added, "conditions": [*written["conditions"], *added.get("conditions", [])]}

    def keep(answer: dict[str, Any]) -> None:
        if answer["kind"] == "VLLMServer":
            answer["status"] = edited

    scene.api.admission = keep
    scene.store.put("VLLMServer", scene.api.hold({**scene.server, "status": edited}))
    scene.api.requests.clear()
    await scene.reconcile(3)

    assert scene.server["status"] == written
    assert [verb for verb, _, _ in scene.api.writes] == ["apply status", "merge patch status"]


async def test_clock_that_is_set_back_delays_no_status() -> None:
    scene = Scene()
    await scene.reconcile()
    scene.now -= timedelta(hours=1)
    requeue = await scene.reconciler.reconcile(KEY)

    assert requeue.seconds is not None
    assert requeue.seconds <= SETTLE_SECONDS


async def test_replicas_that_a_policy_sets_are_reported_and_not_waited_for() -> None:
    scene = stalled_scene(replicas=1)
    scene.api.admission = lambda held: held["spec"].update(replicas=2) if held["kind"] == "Deployment" else None
    await settle(scene)
    assert await scene.reconcile(2) == Requeue.after(ADMISSION_RECHECK_SECONDS)

    accepted = next(entry for entry in scene.server["status"]["conditions"] if entry["type"] == "Accepted")
    message = "an admission policy, a webhook or the API server changes Deployment mistral: spec.replicas"
    assert accepted["message"] == message
    assert scene.condition("Progressing") == ("False", "Complete")


async def test_reconcile_that_exceeds_its_deadline_is_a_failure_to_retry() -> None:
    scene = Scene()

    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    scene.api.apply = hang  # type: ignore[method-assign, assignment]
    scene.reconciler = replace(scene.reconciler, deadline=0.01)
    with pytest.raises(ApiError, match="did not end within"):
        await scene.reconcile()
    assert RECONCILE_DEADLINE_SECONDS < LONGEST_RECONCILE_SECONDS
