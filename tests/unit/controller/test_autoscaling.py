"""The parts for autoscalers, by the settings of the process."""

from __future__ import annotations

from typing import cast

import pytest

from vllm_operator.controller.autoscaling import AutoscalingParts
from vllm_operator.controller.http_endpoints import ListenError
from vllm_operator.informers.store import Store
from vllm_operator.kube.connection import Connection
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.settings import Settings


def made(settings: Settings) -> AutoscalingParts:
    probes = ProbeManager(lambda key: None)
    return AutoscalingParts(settings, cast("Connection", None), Store(), probes, lambda: True, lambda keys: None)


async def test_process_without_the_metrics_api_says_so() -> None:
    autoscaling = made(Settings())

    assert autoscaling.metrics_api_state().reason == "MetricsAPIDisabled"
    assert "autoscaling.source" in autoscaling.metrics_api_state().message
    tasks = autoscaling.tasks()
    assert list(tasks) == ["scaler", "fast path", "other autoscalers"]
    for task in tasks.values():
        task.close()


async def test_metrics_api_is_a_background_task() -> None:
    autoscaling = made(Settings(metrics_api="127.0.0.1:0"))

    tasks = autoscaling.tasks()

    assert autoscaling.metrics_api_state().reason == "MetricsAPIStarting"
    assert list(tasks) == ["scaler", "fast path", "other autoscalers", "metrics API"]
    for task in tasks.values():
        task.close()


@pytest.mark.parametrize("address", ["127.0.0.1", ":x", ":70000"])
def test_invalid_address_names_the_option(address: str) -> None:
    with pytest.raises(ListenError, match="--metrics-api-listen"):
        made(Settings(metrics_api=address))
