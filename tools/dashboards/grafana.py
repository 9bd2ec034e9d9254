"""Turn a dashboard into Grafana's JSON, by Grafana's own types and builders."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from tools.dashboards.model import Dashboard, Panel, Query, Variable, View

SOURCE = "${datasource}"
"""Data source of each panel: the choice of the variable."""

COLUMNS = 24
TAGS = ["vllm", "vllm-operator"]
REFRESH = "30s"
HIDDEN_COLUMNS = ("Time", "Value")
"""Columns of a table of labels that say nothing."""


def to_json(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard, as Grafana imports it."""
    built = _builder(dashboard).build()
    return json.dumps(json.loads(json.dumps(built, cls=JSONEncoder)), indent=1, sort_keys=True) + "\n"


def _builder(dashboard: Dashboard) -> builders.Dashboard:
    result = (
        builders.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(TAGS)
        .refresh(REFRESH)
        .time("now-1h", "now")
        .timezone("browser")
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in dashboard.variables:
        result = result.with_variable(_variable(variable))
    number, top = 1, 0
    for row in dashboard.rows:
        result = result.with_row(builders.Row(row.title).id(number).grid_pos(models.GridPos(1, COLUMNS, 0, top)))
        number, top, left, tallest = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            place = models.GridPos(panel.height, panel.width, left, top)
            result = result.with_panel(_PANELS[panel.view](panel).id(number).grid_pos(place))
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest
    return result


def _variable(variable: Variable) -> builders.QueryVariable:
    result = (
        builders.QueryVariable(variable.name)
        .label(variable.name.capitalize())
        .query({"query": variable.query, "refId": variable.name})
        .datasource(_source())
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .regex(variable.regex)
    )
    if variable.all_value:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        result = result.multi(True).include_all(True).all_value(variable.all_value).current(everything)
    return result


def _source() -> models.DataSourceRef:
    return models.DataSourceRef(type_val="prometheus", uid=SOURCE)


def _target(query: Query, letter: str, view: View) -> prometheus.Dataquery:
    result = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(_source())
    if query.legend:
        result = result.legend_format(query.legend)
    result = result.range() if view in {View.LINES, View.STACKED} else result.instant()
    return result.format("table") if view is View.TABLE else result  # type: ignore[arg-type]  # an enum of strings


def _with_queries(built: Any, panel: Panel) -> Any:
    """Return the builder of a panel with what all kinds of panels have."""
    built = built.title(panel.title).description(panel.description).datasource(_source()).unit(panel.unit)
    for number, query in enumerate(panel.queries):
        built = built.with_target(_target(query, chr(ord("A") + number), panel.view))
    return built


def _lines(panel: Panel) -> Any:
    legend = (
        common_builders.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )
    result = timeseries.Panel().fill_opacity(10).show_points(common.VisibilityMode.NEVER).min(0).legend(legend)
    if panel.view is View.STACKED:
        stacking = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        result = result.stacking(stacking).fill_opacity(40)
    if panel.unit == "percentunit":
        result = result.max(1)
    return _with_queries(result, panel)


def _number(panel: Panel) -> Any:
    mode = common.BigValueTextMode.NAME if panel.view is View.NAME else common.BigValueTextMode.AUTO
    reduced = common_builders.ReduceDataOptions().calcs(["lastNotNull"])
    result = stat.Panel().text_mode(mode).reduce_options(reduced).graph_mode(common.BigValueGraphMode.NONE)
    return _with_queries(result.color_mode(common.BigValueColorMode.NONE), panel)


def _table(panel: Panel) -> Any:
    hidden = models.DataTransformerConfig(
        id_val="organize", options={"excludeByName": dict.fromkeys(HIDDEN_COLUMNS, True)}
    )
    return _with_queries(table.Panel(), panel).with_transformation(hidden)


_PANELS: dict[View, Callable[[Panel], Any]] = {
    View.LINES: _lines,
    View.STACKED: _lines,
    View.NUMBER: _number,
    View.NAME: _number,
    View.TABLE: _table,
}
