"""Namespaces, CRDs and servers that end, and servers that are to be left alone."""

from __future__ import annotations

import pytest

from tests.unit.controller.reconciler.scene import KEY, Scene
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError
from vllm_operator.kube.kinds import MONITORING_KINDS

ENDING = ApiError(
    403, "Forbidden", "unable to create new content because it is being terminated", causes=["NamespaceTerminating"]
)


async def test_in_a_namespace_that_ends_nothing_is_told_and_hardly_anything_tried() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.store.remove("Service", scene.api.objects.pop(("Service", "mistral")))
    scene.api.errors["apply", "Service"] = ENDING
    scene.api.requests.clear()

    for _ in range(3):
        with pytest.raises(ApiError, match="being terminated"):
            await scene.passes()
    assert scene.api.writes == [("apply", "Service", "mistral")]


async def test_server_of_a_namespace_that_was_made_anew_gets_its_children_at_once() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ENDING
    with pytest.raises(ApiError, match="being terminated"):
        await scene.passes()
    scene.store.remove("VLLMServer", scene.server)
    await scene.passes()
    scene.api.errors.clear()
    scene.api.requests.clear()
    scene.api.objects.pop(("VLLMServer", "mistral"))
    scene.wants()

    await scene.passes()
    assert "Service" in scene.applied


async def test_kind_whose_crd_is_being_deleted_is_told_as_missing_without_a_refusal() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.capabilities.installed = MONITORING_KINDS
    message = "create not allowed while custom resource definition is terminating"
    scene.api.errors |= {("apply", kind): ApiError(405, "MethodNotAllowed", message) for kind in MONITORING_KINDS}

    await scene.passes()
    assert scene.capabilities.installed == frozenset()
    await scene.passes()
    assert "refuses" not in str(scene.server["status"])
    assert scene.condition("MonitoringActive") == ("False", "CRDNotInstalled")


async def test_what_is_of_a_crd_that_seems_to_be_gone_is_neither_deleted_nor_written_again() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.capabilities.installed = MONITORING_KINDS
    await scene.passes(2)
    assert {"PodMonitor", "PrometheusRule"} <= set(scene.applied)
    scene.api.requests.clear()
    for kinds in (frozenset[str](), MONITORING_KINDS):
        scene.capabilities.installed = kinds
        await scene.passes(2)

    assert {kind for _, kind, _ in scene.api.writes} <= {"VLLMServer", "Event"}


@pytest.mark.parametrize("dying", [True, False])
async def test_server_that_is_gone_is_no_longer_asked(dying: bool) -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    live = scene.store.server(KEY)
    assert live is not None
    if dying:
        metadata = {**live["metadata"], "resourceVersion": "9999", "deletionTimestamp": "2026-03-02T08:00:00Z"}
        scene.store.put("VLLMServer", {**live, "metadata": metadata})
    else:
        scene.store.remove("VLLMServer", live)

    assert await scene.passes() == Requeue.never()
    assert scene.api.requests == []
    assert scene.prober.targets[KEY] == []


async def test_paused_server_keeps_its_children_as_they_are() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    scene.wants(2, paused=True, service={"port": 81}, replicas=3)
    await scene.passes(2)

    assert scene.applied == []
    assert scene.server["status"]["phase"] == "Paused"
