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
        return {"namespace": run.values["operator_namespace"]} if "operator_namespace" in run.values else {}
    return {name: value for name, value in run.values.items() if name in {"namespace", "server"}}


def queries_of(run: Run, dashboards: Iterable[Dashboard] = DASHBOARDS) -> list[FilledQuery]:
    """Return the queries of all dashboards that a run can answer: one without an operator has none for its panels."""
    shown = [one for one in dashboards if one.uid != OPERATOR_UID or "operator_namespace" in run.values]
    return [query for one in shown for query in filled(one, values_for(one, run), WINDOW)]


def results(found: Prometheus, run: Run, queries: Iterable[FilledQuery] | None = None) -> list[Result]:
    """Run the queries at the end of a run.

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
