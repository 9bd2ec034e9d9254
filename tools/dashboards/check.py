"""Run every query of every panel, and report the value that each returned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tools.dashboards.files import DASHBOARDS
from tools.dashboards.model import Dashboard
from tools.dashboards.prometheus import Prometheus
from tools.dashboards.queries import FilledQuery, filled, metrics_in
from tools.dashboards.recording import Run

WINDOW = "1m"
"""Window of rates: four scrapes of 15 s, the smallest that Grafana takes for them."""

OPERATOR_UID = "vllm-operator"


@dataclass(frozen=True)
class Result:
    """The answer to a query: the number of series, and labels and value of the first."""

    query: FilledQuery
    series: int
    labels: dict[str, str]
    value: float | None


def values_for(dashboard: Dashboard, run: Run) -> dict[str, str]:
    """Return the values of the variables of a dashboard: that of the operator has its own namespace."""
    if dashboard.uid == OPERATOR_UID:
        return {"namespace": run.values["operator_namespace"]}
    return {name: run.values[name] for name in ("namespace", "server")}


def queries_of(run: Run) -> list[FilledQuery]:
    """Return the queries that a run can answer: those about replicas need a vLLM, and the others an operator."""
    has_operator = "operator_namespace" in run.values
    shown = [dashboard for dashboard in DASHBOARDS if has_operator or dashboard.uid != OPERATOR_UID]
    queries = [query for one in shown for query in filled(one, values_for(one, run), WINDOW)]
    if not has_operator:
        return [query for query in queries if about_replicas(query.expr, run.values["server"])]
    return [query for query in queries if _is_scraped(query.expr, run)]


def _is_scraped(expr: str, run: Run) -> bool:
    """Return whether a run with an operator scraped what a query reads."""
    needs_replicas = about_replicas(expr, run.values["server"]) or "vllm_operator_probe_" in expr
    if "vllm_operator_probes_total" in expr or needs_replicas:
        return bool(run.vllm)
    only_state_metrics = all(name.startswith("kube_") for name in metrics_in(expr))
    return "kube_state_metrics" in run.values or not (metrics_in(expr) and only_state_metrics)


def about_replicas(expr: str, server: str) -> bool:
    """Return whether a query reads what the replicas of a server export."""
    return any(name.startswith(("vllm:", "http_requests")) for name in metrics_in(expr)) or f'pod=~"{server}-' in expr


def results(found: Prometheus, run: Run, queries: Iterable[FilledQuery] | None = None) -> list[Result]:
    """Run queries at the end of a run.

    Raises:
        PrometheusError: a query was refused.
    """
    answers = []
    for query in queries_of(run) if queries is None else queries:
        samples = found.query(query.expr, run.end)
        first = samples[0] if samples else None
        answers.append(Result(query, len(samples), first.labels if first else {}, first.last if first else None))
    return answers


def metrics_of(queries: Iterable[FilledQuery]) -> set[str]:
    """Return the metrics that queries name, and those without a selector."""
    named = {name for query in queries for name in metrics_in(query.expr)}
    return named | {"vllm_operator_build_info", "vllm_operator_servers"}
