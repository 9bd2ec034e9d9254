"""A dashboard before it becomes JSON: rows of panels with queries, and variables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

INTERVAL = "$__rate_interval"
"""Grafana's variable for the window of a rate: at least four scrapes."""


class View(Enum):
    """The form of a panel."""

    LINES = "lines"
    STACKED = "stacked"
    NUMBER = "number"
    NAME = "name"
    TABLE = "table"


@dataclass(frozen=True)
class Query:
    """A query in PromQL, and the legend of its series in Grafana's notation (`{{pod}}`)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        title: its title, unique in the dashboard.
        description: the meaning of its values, in a sentence.
        queries: its queries.
        unit: unit of the values, as Grafana names it.
        view: its form.
        width: columns of the 24 that it takes.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    view: View = View.LINES
    width: int = 8

    @property
    def height(self) -> int:
        """Rows of the grid that it takes."""
        return 4 if self.view in {View.NUMBER, View.NAME} else 8


@dataclass(frozen=True)
class Row:
    """A row of panels under a title."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A variable that Prometheus fills.

    Attributes:
        name: its name.
        query: Grafana's query, such as `label_values(metric, label)`.
        regex: pattern that takes the values out of the result of `query_result(…)`; empty for `label_values`.
        all_value: value of the choice All; empty where a single value must be chosen.
    """

    name: str
    query: str
    regex: str = ""
    all_value: str = ""


@dataclass(frozen=True)
class Dashboard:
    """A dashboard.

    Attributes:
        uid: its identifier in Grafana, and the name of its file.
        title: its title.
        description: what it answers.
        variables: its variables, after the data source.
        rows: its rows.
    """

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...] = field(default_factory=tuple)

    def panels(self) -> Iterator[Panel]:
        """Return all panels in their order."""
        for row in self.rows:
            yield from row.panels
