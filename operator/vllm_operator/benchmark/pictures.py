"""Pictures of a measurement: throughput against concurrency, latency, and the seconds of the server in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm_operator.benchmark.figures import StageFigures
from vllm_operator.benchmark.records import Sample
from vllm_operator.benchmark.report import Report
from vllm_operator.client.charts import MeasuredChart, ThroughputPoint, latency_chart, throughput_chart

WIDTH, HEIGHT = 720, 150
"""Pixels of one part of the picture."""

MOST_POINTS = 1500
"""Samples that are drawn; of more, every n-th."""


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


def latency(report: Report) -> MeasuredChart | None:
    """Return the latency of each request, a series for each stage; None when all requests failed."""
    series: dict[str, list[object]] = {}
    for request in report.requests:
        if not request.error:
            series.setdefault(request.stage, []).append(request.latency)
    return latency_chart(series) if series else None


def first_token(report: Report) -> MeasuredChart | None:
    """Return the time to the first token of each request; None without one."""
    series: dict[str, list[object]] = {}
    for request in report.requests:
        if request.first_token is not None:
            series.setdefault(request.stage, []).append(request.first_token)
    return latency_chart(series, title="Time to first token (s)") if series else None


def server(samples: Sequence[Sample]) -> Any:
    """Return one picture of the same seconds: requests in the engines, replicas with the autoscaler, and phases.

    Parts without a single reading are left out; None when nothing was read.
    """
    alt = _altair()

    thinned = samples[:: max(1, len(samples) // MOST_POINTS)]
    parts = [
        part for part in (_queue(thinned), _replicas(thinned), _load(thinned), _phases(thinned)) if part is not None
    ]
    if not parts:
        return None
    return (
        alt.vconcat(*parts)
        .resolve_scale(x="shared", color="independent")
        .properties(title="The server, second by second")
    )


def _lines(samples: Sequence[Sample], names: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"seconds": sample.seconds, "value": value, "series": label}
        for name, label in names.items()
        for sample in samples
        if (value := getattr(sample, name)) is not None
    ]


def _part(rows: list[dict[str, Any]], title: str, mark: str = "line", step: bool = False) -> Any:
    alt = _altair()

    if not rows:
        return None
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT)
    marked = (
        chart.mark_area(opacity=0.7, interpolate="step-after")
        if mark == "area"
        else chart.mark_line(interpolate="step-after" if step else "linear")
    )
    return marked.encode(
        x=alt.X("seconds:Q", title="Seconds"),
        y=alt.Y("value:Q", title=title, stack=mark == "area"),
        color=alt.Color("series:N", title=None),
    )


def _queue(samples: Sequence[Sample]) -> Any:
    return _part(_lines(samples, {"running": "running", "waiting": "waiting"}), "Requests")


def _replicas(samples: Sequence[Sample]) -> Any:
    names = {"replicas": "ready", "wanted": "wanted by the autoscaler"}
    return _part(_lines(samples, names), "Replicas", step=True)


def _load(samples: Sequence[Sample]) -> Any:
    names = {"average": "running per replica", "target": "target of the autoscaler"}
    return _part(_lines(samples, names), "Requests per replica", step=True)


def _phases(samples: Sequence[Sample]) -> Any:
    known = sorted({phase for sample in samples for phase in sample.phases})
    rows = [
        {"seconds": sample.seconds, "value": sample.phases.get(phase, 0), "series": phase}
        for phase in known
        for sample in samples
    ]
    return _part(rows, "Replicas by phase", mark="area")


def svg(chart: Any) -> str:
    """Return a chart of altair as SVG."""
    vl_convert = _vl_convert()

    return str(vl_convert.vegalite_to_svg(chart.to_dict(format="vega-lite")))


def png(chart: Any) -> bytes:
    """Return a chart of altair as PNG."""
    vl_convert = _vl_convert()

    return bytes(vl_convert.vegalite_to_png(chart.to_dict(format="vega-lite"), scale=1.5))


def whole(report: Report) -> Any:
    """Return all charts below each other, for the PNG; None when there is nothing to draw."""
    alt = _altair()

    charts = [chart.altair for chart in (throughput(report), latency(report), first_token(report)) if chart is not None]
    seconds = server(report.samples)
    parts = [*charts, *([seconds] if seconds is not None else [])]
    return alt.vconcat(*parts).resolve_scale(color="independent", x="independent") if parts else None


def _altair() -> Any:
    import altair

    return altair


def _vl_convert() -> Any:
    import vl_convert

    return vl_convert
