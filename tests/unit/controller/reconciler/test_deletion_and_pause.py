"""Namespaces, CRDs and servers that are deleted, and servers that are paused."""

from __future__ import annotations

import pytest

from tests.unit.controller.reconciler.scene import KEY, Scene, settle, stalled_scene
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError
from vllm_operator.kube.kinds import MONITORING_KINDS

TERMINATING = ApiError(
    403, "Forbidden", "unable to create new content because it is being terminated", causes=["NamespaceTerminating"]
)


async def test_terminating_namespace_gets_no_status_and_one_try() -> None:
    scene = Scene()
    await scene.reconcile(2)
    scene.store.remove("Service", scene.api.objects.pop(("Service", "mistral")))
    scene.api.errors["apply", "Service"] = TERMINATING
    scene.api.requests.clear()

    for _ in range(3):
        with pytest.raises(ApiError, match="being terminated"):
            await scene.reconcile()
    assert scene.api.writes == [("apply", "Service", "mistral")]


async def test_server_of_a_namespace_that_was_created_again_gets_its_children_at_once() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = TERMINATING
    with pytest.raises(ApiError, match="being terminated"):
        await scene.reconcile()
    scene.store.remove("VLLMServer", scene.server)
    await scene.reconcile()
    scene.api.errors.clear()
    scene.api.requests.clear()
    scene.api.objects.pop(("VLLMServer", "mistral"))
    scene.set_spec()

    await scene.reconcile()
    assert "Service" in scene.applied


async def test_kind_whose_crd_is_being_deleted_is_reported_as_missing_and_not_as_refused() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.optional_kinds.installed = MONITORING_KINDS
    message = "create not allowed while custom resource definition is terminating"
    scene.api.errors |= {("apply", kind): ApiError(405, "MethodNotAllowed", message) for kind in MONITORING_KINDS}

    await scene.reconcile()
    assert scene.optional_kinds.installed == frozenset()
    await scene.reconcile()
    assert "refuses" not in str(scene.server["status"])
    assert scene.condition("MonitoringActive") == ("False", "CRDNotInstalled")


async def test_children_of_a_crd_that_seems_to_be_gone_are_neither_deleted_nor_written_again() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.optional_kinds.installed = MONITORING_KINDS
    await scene.reconcile(2)
    assert {"PodMonitor", "PrometheusRule"} <= set(scene.applied)
    scene.api.requests.clear()
    for kinds in (frozenset[str](), MONITORING_KINDS):
        scene.optional_kinds.installed = kinds
        await scene.reconcile(2)

    assert {kind for _, kind, _ in scene.api.writes} <= {"VLLMServer", "Event"}


@pytest.mark.parametrize("deleting", [True, False])
async def test_server_that_is_gone_is_no_longer_probed(deleting: bool) -> None:
    scene = Scene()
    await scene.reconcile(2)
    scene.api.requests.clear()
    live = scene.server
    if deleting:
        metadata = {**live["metadata"], "resourceVersion": "9999", "deletionTimestamp": "2026-03-02T08:00:00Z"}
        scene.store.put("VLLMServer", {**live, "metadata": metadata})
    else:
        scene.store.remove("VLLMServer", live)

    assert await scene.reconcile() == Requeue.never()
    assert scene.api.requests == []
    assert KEY not in scene.probes.targets


async def test_paused_server_keeps_its_children_as_they_are() -> None:
    scene = Scene()
    await scene.reconcile(2)
    scene.api.requests.clear()
    scene.set_spec(2, paused=True, service={"port": 81}, replicas=3)
    await scene.reconcile(2)

    assert scene.applied == []
    assert scene.server["status"]["phase"] == "Paused"


async def test_paused_server_is_not_ready_for_a_spec_that_is_not_carried_out() -> None:
    scene = stalled_scene()
    scene.probes.healths = {}
    await settle(scene)
    scene.set_spec(generation=2, paused=True, replicas=2)
    await scene.reconcile()
    assert scene.condition("Progressing") != ("False", "Paused")

    scene.set_spec(generation=3, paused=True, replicas=2, image="vllm/vllm-openai:v0.31.0")
    await scene.reconcile()
    assert scene.condition("Ready") == ("False", "Paused")
    assert scene.condition("Progressing") == ("False", "Paused")

    scene.start()
    await scene.reconcile()
    assert scene.condition("Ready") == ("False", "Paused")


async def test_paused_server_without_children_is_not_monitored() -> None:
    scene = Scene(paused=True)
    scene.optional_kinds.installed = MONITORING_KINDS
    await scene.reconcile(2)
    assert scene.condition("MonitoringActive") == ("False", "Missing")
