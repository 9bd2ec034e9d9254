"""`python -m tools.dashboards.pictures [RECORDING...]`: draw the dashboards from recordings, by their own queries.

The pictures show the panels over the time of the run. They are not made by Grafana, and look alike only. A recording
shows the panels whose series it scraped: that of a cluster shows all, the others some.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import altair
import vl_convert

from tools.dashboards.check import queries_of
from tools.dashboards.files import DASHBOARDS
from tools.dashboards.model import Dashboard, Panel, View
from tools.dashboards.prometheus import Prometheus, Sample
from tools.dashboards.queries import FilledQuery
from tools.dashboards.recording import FOLDER as RECORDINGS
from tools.dashboards.recording import Run, read_run, replayed
from tools.localcluster.settings import REPOSITORY

FOLDER = REPOSITORY / "docs" / "how-to" / "pictures"
COLUMNS = 3
FEWEST_PANELS = 4
"""A dashboard of which a recording shows less has no picture of it."""
WIDTH, HEIGHT = 330, 150
NUMBER_HEIGHT = 60
STEP_SECONDS = 10.0
LOOKBACK_SECONDS = 300.0
"""Prometheus' `--query.lookback-delta`."""
SCALE = 1.0
MOST_ROWS = 9
"""Rows of a table that are drawn."""

UNITS = {"s": "s", "percentunit": "%", "bytes": "GiB", "reqps": "1/s", "ops": "1/s"}
FACTORS = {"percentunit": 100.0, "bytes": 1 / 2**30}


def main() -> int:
    """Draw the dashboards of the recordings that the command line names; without one, of all."""
    FOLDER.mkdir(exist_ok=True)
    for path in [Path(name) for name in sys.argv[1:]] or sorted(RECORDINGS.glob("*.om.xz")):
        run = read_run(path)
        with replayed(path) as found:
            for dashboard in DASHBOARDS:
                if len(_panels(dashboard, run)) >= FEWEST_PANELS:
                    picture = FOLDER / f"{dashboard.uid}-{path.name.removesuffix('.om.xz')}.png"
                    picture.write_bytes(draw(dashboard, run, found))
                    print(picture)
    return 0


def draw(dashboard: Dashboard, run: Run, found: Prometheus) -> bytes:
    """Return the PNG of those panels of a dashboard that a run can show."""
    charts = [_panel(panel, queries, run, found) for panel, queries in _panels(dashboard, run)]
    rows = [
        altair.hconcat(*charts[start : start + COLUMNS]).resolve_scale(color="independent")
        for start in range(0, len(charts), COLUMNS)
    ]
    whole = altair.vconcat(*rows, title=f"{dashboard.title}: {run.origin}").resolve_scale(color="independent")
    return vl_convert.vegalite_to_png(whole.to_json(), scale=SCALE)


def _panels(dashboard: Dashboard, run: Run) -> list[tuple[Panel, list[FilledQuery]]]:
    """Return the panels whose series a run has, with their queries."""
    queries = [query for query in queries_of(run) if query.dashboard.uid == dashboard.uid]
    return [(panel, own) for panel in dashboard.panels() if (own := _of(panel, queries))]


def _of(panel: Panel, queries: list[FilledQuery]) -> list[FilledQuery]:
    return [query for query in queries if query.panel.title == panel.title]


def _panel(panel: Panel, queries: list[FilledQuery], run: Run, found: Prometheus) -> Any:
    """Return the chart of a panel: text for numbers and tables, else lines or areas."""
    unit = f" ({UNITS[panel.unit]})" if panel.unit in UNITS else ""
    title = altair.TitleParams(f"{panel.title}{unit}", subtitle=panel.description, subtitleFontSize=8, anchor="start")
    if panel.view in {View.NUMBER, View.NAME, View.TABLE}:
        texts = [_text(panel, query, sample) for query in queries for sample in found.query(query.expr, run.end)]
        rows = [{"text": text, "row": row} for row, text in enumerate(texts[:MOST_ROWS])]
        size = 11 if panel.view is View.TABLE else 22
        return (
            altair.Chart(_data(rows), width=WIDTH, height=HEIGHT if len(rows) > 1 else NUMBER_HEIGHT, title=title)
            .mark_text(size=size, align="left", x=4)
            .encode(y=altair.Y("row:O", axis=None), text="text:N")
        )
    chart = altair.Chart(_data(_points(panel, queries, run, found)), width=WIDTH, height=HEIGHT, title=title)
    stacked = panel.view is View.STACKED
    marked = chart.mark_area(opacity=0.7) if stacked else chart.mark_line()
    return marked.encode(
        x=altair.X("time:T", title=None, axis=altair.Axis(format="%H:%M:%S", tickCount=4)),
        y=altair.Y("value:Q", title=None, stack="zero" if stacked else None),
        color=altair.Color("series:N", title=None, legend=altair.Legend(orient="bottom", columns=2, labelLimit=150)),
    )


def _points(panel: Panel, queries: list[FilledQuery], run: Run, found: Prometheus) -> list[dict[str, Any]]:
    """Return the points of all lines of a panel, without values that are not numbers."""
    end, factor = max(run.end, _last(found, run)), FACTORS.get(panel.unit, 1.0)
    return [
        {"time": moment * 1000, "value": value * factor, "series": _legend(query, sample)}
        for query in queries
        for sample in found.query_range(query.expr, run.start, end, STEP_SECONDS)
        for moment, value in sample.values
        if math.isfinite(value)
    ]


def _data(rows: list[dict[str, Any]]) -> altair.InlineData:
    return altair.InlineData(values=rows)


def _last(found: Prometheus, run: Run) -> float:
    """Return the time of the last scrape of a run. A query shows a series for LOOKBACK_SECONDS longer."""
    at = run.end + LOOKBACK_SECONDS - 1
    # Two metrics may have the same labels, and `timestamp` drops the name: so one query for each name.
    names = [one.labels["__name__"] for one in found.query('group by (__name__) ({__name__=~".+"})', at)]
    samples = [one for name in names for one in found.query(f'max(timestamp({{__name__="{name}"}}))', at)]
    return max([sample.last for sample in samples], default=run.end)


def _text(panel: Panel, query: FilledQuery, sample: Sample) -> str:
    if panel.view is View.TABLE:
        return "  ".join(value for _, value in sorted(sample.labels.items()))
    legend = _legend(query, sample)
    if panel.view is View.NAME:
        return legend
    value = f"{sample.last * FACTORS.get(panel.unit, 1.0):.4g} {UNITS.get(panel.unit, '')}".strip()
    return f"{value}  {legend}" if query.legend else value


def _legend(query: FilledQuery, sample: Sample) -> str:
    """Return the legend as Grafana fills it; a pod is named by its last part."""
    text = query.legend
    for name, value in sample.labels.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text or query.panel.title


if __name__ == "__main__":
    sys.exit(main())
