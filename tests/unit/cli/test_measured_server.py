from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.helpers.pods import loading_pod, ready_pod
from vllm_operator.cli import measured_server
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import USAGE, CliError
from vllm_operator.cli.load import ReplicaLoad

METRIC = {"name": "vllm_num_requests_running"}
SCALER = {
    "spec": {"metrics": [{"type": "Pods", "pods": {"metric": METRIC, "target": {"averageValue": "50"}}}]},
    "status": {
        "desiredReplicas": 3,
        "currentMetrics": [{"type": "Pods", "pods": {"metric": METRIC, "current": {"averageValue": "72500m"}}}],
    },
}


class FakeCluster:
    """A cluster with two pods, one server and its autoscaler."""

    namespace = "llm"

    def __init__(self, scaler: dict[str, Any] | None) -> None:
        self.scaler = scaler

    def list(self, kind: Any, namespace: str, **options: Any) -> list[dict[str, Any]]:
        return [ready_pod("a"), loading_pod("b")]

    def get(self, kind: Any, name: str) -> dict[str, Any]:
        statuses = [{"pod": "a", "phase": "Serving"}, {"pod": "b", "phase": "LoadingWeights"}]
        spec = {"autoscaling": {"maxReplicas": 3}} if self.scaler else {}
        return {"spec": spec, "status": {"replicaStatuses": statuses}}

    def find(self, kind: Any, name: str) -> dict[str, Any] | None:
        return self.scaler


def sampled(
    monkeypatch: pytest.MonkeyPatch, scaler: dict[str, Any] | None, loads: dict[str, ReplicaLoad]
) -> measured_server.Sample:
    monkeypatch.setattr("vllm_operator.cli.load.read_loads", lambda api, pods: loads)
    followed: list[Any] = []
    sample = measured_server.read_cluster(FakeCluster(scaler), "mistral", followed.extend)  # type: ignore[arg-type]
    assert [pod["metadata"]["name"] for pod in followed] == ["a", "b"]
    return sample


def test_a_sample_has_engines_replicas_autoscaler_and_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = {"a": ReplicaLoad(running=3, waiting=1), "c": ReplicaLoad(problem="no answer")}
    sample = sampled(monkeypatch, SCALER, loads)
    assert (sample.running, sample.waiting, sample.replicas) == (3, 1, 1)
    assert (sample.wanted, sample.average, sample.target) == (3, 72.5, 50.0)
    assert sample.phases == {"Serving": 1, "LoadingWeights": 1}


def test_what_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = sampled(monkeypatch, None, {"a": ReplicaLoad(problem="no right")})
    assert (sample.running, sample.waiting, sample.wanted, sample.target) == (None, None, None, None)

    def fail(*_: Any, **__: Any) -> Any:
        raise CallError("no answer", 3)

    monkeypatch.setattr(FakeCluster, "list", fail)
    assert measured_server.read_cluster(FakeCluster(None), "mistral").replicas is None  # type: ignore[arg-type]


async def test_a_url_shows_the_engine_that_answers() -> None:
    async with FakeVLLM() as server:
        server.engine_requests = 4
        url = f"http://127.0.0.1:{server.port}"
        with measured_server.by_url(f"{url}/v1") as place:
            sample = await asyncio.to_thread(place.read)
    assert place.urls() == (url,)
    with place.whole_url() as whole:
        assert whole == url
    assert sample.running is not None
    assert sample.replicas is None
    assert place.read() == measured_server.Sample(0.0)
    assert "autoscaler and phases are unknown" in place.notes()[0]


def test_a_wrong_url_is_a_usage_error() -> None:
    with pytest.raises(CliError) as caught, measured_server.by_url("ftp://x"):
        pass
    assert caught.value.code == USAGE
