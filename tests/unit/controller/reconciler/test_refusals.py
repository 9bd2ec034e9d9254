"""A spec, or a child, that is refused."""

from __future__ import annotations

import pytest

from tests.unit.controller.reconciler.scene import Scene
from vllm_operator.controller.recheck_delay import REFUSED_SECONDS
from vllm_operator.controller.requeue import Requeue
from vllm_operator.errors import ApiError
from vllm_operator.kube.kinds import MONITORING_KINDS


async def test_refused_spec_sets_accepted_false_and_keeps_the_children() -> None:
    scene = Scene()
    await scene.reconcile(2)
    scene.api.requests.clear()
    scene.set_spec(2, engine={"extraArgs": ["--port=1"]})
    await scene.reconcile(2)

    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "InvalidArgument")
    assert ("Deployment", "mistral") in scene.api.objects


async def test_spec_that_cannot_be_parsed_sets_accepted_false() -> None:
    scene = Scene(engine={"maxModelLen": "many"})
    await scene.reconcile()

    assert scene.condition("Accepted") == ("False", "InvalidSpec")


async def test_refused_child_sets_accepted_false_and_is_retried() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")

    assert await scene.reconcile() == Requeue.after(REFUSED_SECONDS)
    assert scene.condition("Accepted") == ("False", "ChildRefused")


async def test_failure_that_a_retry_may_cure_is_left_to_the_work_queue() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(503, "ServiceUnavailable", "later")

    with pytest.raises(ApiError, match="later"):
        await scene.reconcile()


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
async def test_stranger_with_the_name_of_a_monitoring_child_does_not_affect_serving(kind: str) -> None:
    scene = Scene()
    scene.optional_kinds.installed = MONITORING_KINDS
    scene.api.hold({"kind": kind, "metadata": {"name": "mistral", "namespace": "llm"}})
    await scene.reconcile(2)

    assert scene.condition("Accepted")[0] == "True"
    assert scene.condition("Stalled")[0] == "False"
    assert scene.condition("MonitoringActive") == ("False", "NameTaken")


async def test_refused_alerts_are_reported_without_scraping() -> None:
    scene = Scene(monitoring={"scrape": "none"})
    scene.optional_kinds.installed = MONITORING_KINDS
    scene.api.errors["apply", "PrometheusRule"] = ApiError(422, "Invalid", "spec.groups[0]: no")
    await scene.reconcile(2)

    assert scene.condition("Accepted")[0] == "True"
    assert scene.condition("MonitoringActive") == ("False", "ChildRefused")
