from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.helpers.pods import loading_pod, ready_pod
from tests.unit.benchmark.sample_report import report
from vllm_operator.cli import measuring
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import USAGE, CliError
from vllm_operator.cli.gathered import Gathered
from vllm_operator.cli.load import ReplicaLoad

METRIC = {"name": "vllm_num_requests_running"}
SCALER = {
    "spec": {"metrics": [{"type": "Pods", "pods": {"metric": METRIC, "target": {"averageValue": "50"}}}]},
    "status": {
        "desiredReplicas": 3,
        "currentMetrics": [{"type": "Pods", "pods": {"metric": METRIC, "current": {"averageValue": "72500m"}}}],
    },
}


def sampled(monkeypatch: pytest.MonkeyPatch, children: dict[str, Any], loads: dict[str, ReplicaLoad]) -> Any:
    statuses = [{"pod": "a", "phase": "Serving"}, {"pod": "b", "phase": "LoadingWeights"}]
    state = Gathered({"status": {"replicaStatuses": statuses}}, children, (), [ready_pod("a"), loading_pod("b")])
    monkeypatch.setattr("vllm_operator.cli.servers.find_server", lambda api, name: state.server)
    monkeypatch.setattr("vllm_operator.cli.gathered.gather", lambda api, server: state)
    monkeypatch.setattr("vllm_operator.cli.load.read_loads", lambda api, pods: loads)
    return measuring.read_cluster(None, "mistral")  # type: ignore[arg-type]  # it is not asked


def test_a_sample_has_engines_replicas_autoscaler_and_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = {"a": ReplicaLoad(running=3, waiting=1), "c": ReplicaLoad(problem="no answer")}
    sample = sampled(monkeypatch, {"HorizontalPodAutoscaler": SCALER}, loads)
    assert (sample.running, sample.waiting, sample.replicas) == (3, 1, 1)
    assert (sample.wanted, sample.average, sample.target) == (3, 72.5, 50.0)
    assert sample.phases == {"Serving": 1, "LoadingWeights": 1}


def test_what_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = sampled(monkeypatch, {}, {"a": ReplicaLoad(problem="no right")})
    assert (sample.running, sample.waiting, sample.wanted, sample.target) == (None, None, None, None)

    def fail(api: Any, name: str) -> Any:
        raise CallError("no answer", 3)

    monkeypatch.setattr("vllm_operator.cli.servers.find_server", fail)
    assert measuring.read_cluster(None, "mistral").replicas is None  # type: ignore[arg-type]  # it is not asked


async def test_a_url_shows_the_engine_that_answers() -> None:
    async with FakeVLLM() as server:
        server.engine_requests = 4
        url = f"http://127.0.0.1:{server.port}"
        with measuring.by_url(f"{url}/v1") as place:
            sample = await asyncio.to_thread(place.read)
    assert place.urls == (url,)
    assert sample.running is not None
    assert sample.replicas is None
    assert place.read() == measuring.Sample(0.0)
    assert "autoscaler and phases are unknown" in place.notes[0]


def test_a_wrong_url_is_a_usage_error() -> None:
    with pytest.raises(CliError) as caught, measuring.by_url("ftp://x"):
        pass
    assert caught.value.code == USAGE


def test_the_files_of_a_report(tmp_path: Path) -> None:
    paths = measuring.write_report(report(), tmp_path / "out", measuring.FORMATS)
    names = {"report.json", "requests.csv", "samples.csv", "report.html", "report.png"}
    assert {path.name for path in paths} == names
    assert all(path.stat().st_size > 100 for path in paths)
    assert [path.name for path in measuring.write_report(report(), tmp_path, ["json"])] == ["report.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="choose another --output-dir"):
        measuring.write_report(report(), tmp_path / "file" / "x", ["json"])
