from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from tests.helpers.paths import DATA
from tests.helpers.pods import loading_pod, ready_pod
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.load import ReplicaLoad, metrics_path, parse_load, read_loads
from vllm_operator.cli.options import ClusterOptions

RECORDED = (DATA / "vllm-0.32-metrics.txt").read_text()


def in_llm(pod: dict[str, object]) -> dict[str, object]:
    assert isinstance(pod["metadata"], dict)
    return {**pod, "metadata": {**pod["metadata"], "namespace": "llm"}}


def test_recorded_metrics_are_read() -> None:
    load = parse_load(RECORDED)
    assert load.running is not None
    assert load.waiting is not None
    assert load.kv_cache is not None
    assert load.generated is not None
    assert load.problem == ""


def test_engines_of_a_replica_are_added_and_the_fullest_cache_counts() -> None:
    text = (
        'vllm:num_requests_running{engine="0",model_name="a b}c"} 2.0\nvllm:num_requests_running{engine="1"} 3.0\n'
        'vllm:kv_cache_usage_perc{engine="0"} 0.2\nvllm:kv_cache_usage_perc{engine="1"} 0.5\n'
    )
    assert parse_load(text) == ReplicaLoad(running=5, kv_cache=0.5)


def test_old_name_of_the_cache_is_read() -> None:
    assert parse_load("vllm:gpu_cache_usage_perc 0.25\n").kv_cache == 0.25


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "vllm:num_requests_running",
        "vllm:num_requests_running{ 3",
        "vllm:num_requests_running NaN",
        "vllm:num_requests_running -1",
        "vllm:num_requests_running inf",
        "vllm:num_requests_running many",
        "vllm:num_requests_running{" + "x" * 5000 + "} 1",
    ],
)
def test_what_is_no_number_is_unknown(text: str) -> None:
    assert parse_load(text).running is None


def test_impossible_cache_is_unknown() -> None:
    assert parse_load("vllm:kv_cache_usage_perc 17\n").kv_cache is None


def test_time_is_bounded() -> None:
    started = time.process_time()
    parse_load('vllm:num_requests_running{a="1"} 1\n' * 100_000)
    assert time.process_time() - started < 10


def test_ready_replicas_are_read_through_the_proxy(tmp_path: Path) -> None:
    pod, loading = in_llm(ready_pod("a")), in_llm(loading_pod("b"))
    path = "/api/v1/namespaces/llm/pods/a:8000/proxy/metrics"
    assert metrics_path(pod) == path
    with fake_api_server({f"GET {path}": (200, RECORDED.encode())}, tmp_path) as (_, kubeconfig):
        loads = read_loads(Cluster(ClusterOptions(kubeconfig=kubeconfig)), [pod, loading])
    assert loads == {"a": parse_load(RECORDED)}


def test_missing_right_and_failed_call_are_problems(tmp_path: Path) -> None:
    pods = [in_llm(ready_pod(name)) for name in ("a", "b")]
    base = "GET /api/v1/namespaces/llm/pods"
    answers = {
        f"{base}/a:8000/proxy/metrics": (403, status_object(403, "Forbidden", "no")),
        f"{base}/b:8000/proxy/metrics": (
            503,
            status_object(503, "ServiceUnavailable", "error trying to reach service"),
        ),
    }
    with fake_api_server(answers, tmp_path) as (_, kubeconfig):
        loads = read_loads(Cluster(ClusterOptions(kubeconfig=kubeconfig)), pods)
    assert loads["a"].problem == "no right to get pods/proxy"
    assert loads["b"].problem == "error trying to reach service"


def test_no_ready_replica_reads_nothing(tmp_path: Path) -> None:
    with fake_api_server({}, tmp_path) as (server, kubeconfig):
        assert read_loads(Cluster(ClusterOptions(kubeconfig=kubeconfig)), [in_llm(loading_pod())]) == {}
    assert server.asked == []
