"""Pictures of a measurement: throughput against concurrency, percentiles by load, and the seconds of the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vllm_operator.benchmark import timeline
from vllm_operator.benchmark.figures import Distribution, StageFigures
from vllm_operator.benchmark.report import Report
from vllm_operator.client.charts import MeasuredChart, ThroughputPoint, throughput_chart

PANEL_WIDTH, PANEL_HEIGHT = 210, 220
"""Pixels of one panel of the percentiles; three of them are as wide as the other pictures."""

TIMES = {
    "latency": "Latency (s)",
    "first_token": "Time to first token (s)",
    "per_token": "Time per output token (s)",
}
"""Attribute of the figures of a stage -> title of its panel."""

SCALE = 1.5
"""Pixels of the PNG for each pixel of a chart."""


def throughput(report: Report) -> MeasuredChart | None:
    """Return throughput against requests in flight; None with a single stage."""
    points = {
        level: ThroughputPoint(level, figures.requests_per_second, figures.output_tokens_per_second)
        for figures in report.figures
        if figures.requests > figures.failed and (level := _concurrency(figures))
    }
    return throughput_chart(points.values()) if len(points) > 1 else None


def _concurrency(figures: StageFigures) -> int:
    """Return the requests in flight: those of the load, or those on average of a load with a rate."""
    kind, _, level = figures.stage.partition("=")
    if kind in {"concurrent", "turns"} and level.isdigit():
        return int(level)
    return max(1, round(figures.in_flight))


def percentiles(report: Report) -> Any:
    """Return a panel for latency, time to the first token and time per token, over the loads; None without answers."""
    alt = _altair()
    panels = [_panel(alt, list(_rows(report.figures, name)), title) for name, title in TIMES.items()]
    shown = [panel for panel in panels if panel is not None]
    return alt.hconcat(*shown).properties(title="Percentiles by load") if shown else None


def _rows(figures: Sequence[StageFigures], name: str) -> Iterator[dict[str, Any]]:
    for stage in figures:
        found: Distribution | None = getattr(stage, name)
        for percentile, seconds in (found.percentiles if found else {}).items():
            yield {"load": stage.stage, "seconds": seconds, "percentile": percentile}


def _panel(alt: Any, rows: list[dict[str, Any]], title: str) -> Any:
    if not rows:
        return None
    order = list(dict.fromkeys(row["load"] for row in rows))
    chart = alt.Chart(alt.Data(values=rows), width=PANEL_WIDTH, height=PANEL_HEIGHT)
    return chart.mark_line(point=True).encode(
        x=alt.X("load:N", title=None, sort=order, axis=alt.Axis(labelAngle=-40)),
        y=alt.Y("seconds:Q", title=title),
        color=alt.Color("percentile:N", title=None, sort=None),
    )


def server(report: Report) -> Any:
    """Return one picture of the same seconds: requests, engines, replicas with the autoscaler, and phases."""
    return timeline.server(report.samples, report.requests)


def svg(chart: Any) -> str:
    """Return a chart of altair as SVG."""
    return MeasuredChart(chart, _NO_TERMINAL).svg()


def png(chart: Any) -> bytes:
    """Return a chart of altair as PNG."""
    return MeasuredChart(chart, _NO_TERMINAL).png(SCALE)


_NO_TERMINAL: Any = None
"""These charts are drawn in files only."""


def all_charts(report: Report) -> list[Any]:
    """Return the charts that can be drawn, in their order in the report."""
    curve = throughput(report)
    found = (curve.altair if curve else None, percentiles(report), server(report))
    return [chart for chart in found if chart is not None]


def whole(report: Report) -> Any:
    """Return all charts below each other, for the PNG; None when there is nothing to draw."""
    charts = all_charts(report)
    return _altair().vconcat(*charts).resolve_scale(color="independent", x="independent") if charts else None


def _altair() -> Any:
    import altair

    return altair
