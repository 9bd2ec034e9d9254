"""Each query parses, and takes the names of old and new vLLM releases, checked by the real promtool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.helpers.promtool import RunRules
from tools.dashboards import server
from tools.dashboards.files import DASHBOARDS
from tools.dashboards.queries import filled

VALUES = {"namespace": "llm", "server": "mistral"}
PODS = ("mistral-5f9c6d7b8-x2k7b", "mistral-5f9c6d7b8-zz2k9")


def series(name: str, values: str, pod: str = PODS[0], job: str = "llm/mistral", **more: str) -> dict[str, str]:
    labels = {"namespace": "llm", "pod": pod, "job": job, **more}
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{text}}}", "values": values}


def expr(title: str, number: int = 0) -> str:
    """The filled query of a panel of the server's dashboard."""
    found = [query.expr for query in filled(server.DASHBOARD, VALUES, "1m") if query.panel.title == title]
    return found[number]


def check(run_rules: RunRules, text: str, samples: Iterable[dict[str, str]], expected: dict[str, float]) -> None:
    wanted = [{"labels": labels, "value": value} for labels, value in expected.items()]
    run_rules(
        {},
        {"input_series": list(samples), "promql_expr_test": [{"expr": text, "eval_time": "9m", "exp_samples": wanted}]},
    )


def of_pod(pod: str = PODS[0]) -> str:
    return f'{{namespace="llm",pod="{pod}"}}'


def test_every_query_parses(run_rules: RunRules) -> None:
    queries = [query.expr for dashboard in DASHBOARDS for query in filled(dashboard, VALUES, "1m")]
    rules: list[dict[str, Any]] = [{"record": f"query_{number}", "expr": text} for number, text in enumerate(queries)]
    assert len(rules) > 60
    run_rules({"groups": [{"name": "queries", "rules": rules}]}, {})


@pytest.mark.parametrize("names", [("kv",), ("gpu",), ("kv", "gpu")], ids="+".join)
def test_kv_cache_has_its_old_or_new_name(names: tuple[str, ...], run_rules: RunRules) -> None:
    samples = [series(f"vllm:{name}_cache_usage_perc", "0.5x60", engine="0") for name in names]
    check(run_rules, expr("KV cache"), samples, {of_pod(): 0.5})


@pytest.mark.parametrize(
    "names",
    [("inter_token_latency",), ("time_per_output_token",), ("inter_token_latency", "time_per_output_token")],
    ids="+".join,
)
def test_time_per_output_token_has_its_old_or_new_name(names: tuple[str, ...], run_rules: RunRules) -> None:
    samples = [
        series(f"vllm:{name}_seconds_bucket", "0+15x60", engine="0", le=le) for name in names for le in ("0.1", "+Inf")
    ]
    check(run_rules, expr("Time per output token"), samples, {"{}": 0.05})


@pytest.mark.parametrize("prefix", ["vllm:", "vllm:gpu_"])
def test_hit_rate_has_its_old_or_new_name(prefix: str, run_rules: RunRules) -> None:
    samples = [
        series(f"{prefix}prefix_cache_hits_total", "0+15x60", engine="0"),
        series(f"{prefix}prefix_cache_queries_total", "0+60x60", engine="0"),
    ]
    check(run_rules, expr("Hit rate of the prefix cache"), samples, {of_pod(): 0.25})


@pytest.mark.parametrize(
    "names", [("vllm:num",), ("vllm_num",), ("vllm:num", "vllm_num")], ids=["exported", "recorded", "both"]
)
def test_running_requests_are_counted_once_under_both_names(names: tuple[str, ...], run_rules: RunRules) -> None:
    samples = [series(f"{name}_requests_running", "3x60") for name in names]
    check(run_rules, expr("Running requests"), samples, {of_pod(): 3})


def test_engines_are_summed_and_jobs_are_not(run_rules: RunRules) -> None:
    samples = [
        series("vllm:num_requests_waiting", "2x60", job=job, engine=engine)
        for job in ("llm/mistral", "kubernetes-pods")
        for engine in ("0", "1")
    ]
    check(run_rules, expr("Queue"), samples, {of_pod(): 4})


def test_replicas_of_another_server_do_not_count(run_rules: RunRules) -> None:
    samples = [
        series("vllm:num_requests_running", "1x60", pod=pod)
        for pod in (*PODS, "mistral-large-5f9c6d7b8-x2k7b", "other-5f9c6d7b8-x2k7b")
    ]
    check(run_rules, expr("Running requests"), samples, {of_pod(pod): 1 for pod in PODS})


@pytest.mark.parametrize("prefix", ["vllm_operator_server_", "kube_vllmserver_"])
def test_status_comes_from_the_operator_or_from_kube_state_metrics(prefix: str, run_rules: RunRules) -> None:
    phases = {"Serving": "1x60"} if prefix.startswith("vllm") else {"Serving": "1x60", "Failed": "0x60"}
    samples = [
        series(f"{prefix}status_phase", value, pod="exporter", vllmserver="mistral", phase=phase)
        for phase, value in phases.items()
    ]
    check(run_rules, expr("Phase"), samples, {'{phase="Serving"}': 1})


def test_replicas_by_phase_are_counted_from_both_sources(run_rules: RunRules) -> None:
    of_operator = [series("vllm_operator_server_status_replica_phase", "2x60", vllmserver="mistral", phase="Serving")]
    of_ksm = [
        series("kube_vllmserver_status_replica_phase", "1x60", vllmserver="mistral", replica=pod, phase="Serving")
        for pod in PODS
    ]
    for samples in (of_operator, of_ksm, of_operator + of_ksm):
        check(run_rules, expr("Phases of the replicas"), samples, {'{phase="Serving"}': 2})
