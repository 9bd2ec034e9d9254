"""The queries of the dashboards with values for their variables, and the metrics that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.dashboards.model import INTERVAL, Dashboard, Panel

_METRIC = re.compile(r"([a-zA-Z_][a-zA-Z0-9_:]*)\{")
_VARIABLE = re.compile(r"\$\{?([a-zA-Z_]+)\}?")


@dataclass(frozen=True)
class FilledQuery:
    """A query of a panel as Prometheus gets it; `number` is its place in the panel."""

    dashboard: Dashboard
    panel: Panel
    number: int
    expr: str
    legend: str


def filled(dashboard: Dashboard, values: Mapping[str, str], window: str) -> Iterator[FilledQuery]:
    """Return all queries of a dashboard.

    Args:
        dashboard: the dashboard.
        values: value of each variable; a variable that is missing here gets that of the choice All.
        window: window of rates, as a Prometheus duration.

    Raises:
        KeyError: a query names a variable that the dashboard does not have.
    """
    everything = {variable.name: variable.all_value for variable in dashboard.variables if variable.all_value}
    for panel in dashboard.panels():
        for number, query in enumerate(panel.queries):
            expr = fill(query.expr, {**everything, **values, INTERVAL.removeprefix("$"): window})
            yield FilledQuery(dashboard, panel, number, expr, query.legend)


def fill(expr: str, values: Mapping[str, str]) -> str:
    """Return an expression with the values of its variables; a value may name a variable itself."""
    for _ in range(2):
        expr = _VARIABLE.sub(lambda found: values[found[1]], expr)
    return expr


def metrics_in(expr: str) -> set[str]:
    """Return the names of the metrics that stand before a brace."""
    return set(_METRIC.findall(expr))
