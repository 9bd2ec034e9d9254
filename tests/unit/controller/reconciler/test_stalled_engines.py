"""Stalled engines: reported, remediated where the spec asks for it, and known to a new process."""

from __future__ import annotations

import pytest

from tests.unit.controller.reconciler.scene import KEY, STALLED, Scene, settle, stalled_scene
from vllm_operator.errors import ApiError


def deletions(scene: Scene) -> list[tuple[str, str]]:
    return [(kind, name) for verb, kind, name in scene.api.requests if verb == "delete"]


async def test_pod_of_a_stalled_engine_is_deleted_once_with_an_event_and_a_count() -> None:
    scene = stalled_scene(health={"restartStalled": True})
    await settle(scene)
    assert deletions(scene) == []
    await scene.reconcile(1)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
    await scene.reconcile(2)
    assert deletions(scene) == [("Pod", "a")]
    assert len(scene.server["status"]["stalledRestarts"]) == 1
    assert scene.metrics.registry.get_sample_value("vllm_operator_stalled_restarts_total") == 1
    reasons = [sent["reason"] for sent in scene.api.sent if isinstance(sent, dict) and sent.get("kind") == "Event"]
    assert reasons.count("EngineStalled") == 1
    assert reasons.count("EngineRestarted") == 1


@pytest.mark.parametrize(
    "refusal", [ApiError(503, "ServiceUnavailable", "later"), ApiError(409, "Conflict", "later")], ids=["503", "409"]
)
async def test_count_is_written_before_the_pod_is_deleted(refusal: ApiError) -> None:
    scene = stalled_scene(health={"restartStalled": True})
    await settle(scene)
    await scene.reconcile(1)
    scene.api.errors["apply status", "VLLMServer"] = refusal
    with pytest.raises(ApiError, match="later"):
        await scene.reconcile(3)
    assert deletions(scene) == []


async def test_no_pod_of_a_server_that_is_gone_is_deleted() -> None:
    scene = stalled_scene(health={"restartStalled": True})
    await settle(scene)
    await scene.reconcile(1)
    scene.api.errors["apply status", "VLLMServer"] = ApiError(404, "NotFound", "gone")
    await scene.reconcile(3)
    assert deletions(scene) == []


async def test_no_pod_is_deleted_unless_the_spec_asks_for_it() -> None:
    scene = stalled_scene()
    await settle(scene)
    await scene.reconcile(10)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
    assert deletions(scene) == []


async def test_new_process_starts_from_the_stalled_engines_in_the_status() -> None:
    scene = stalled_scene()
    await settle(scene)
    await scene.reconcile(2)
    scene.start()
    await scene.reconcile(1)
    assert {target.pod: target.reported_stall for target in scene.probes.targets[KEY]} == {
        "a": STALLED.message,
        "b": "",
    }
