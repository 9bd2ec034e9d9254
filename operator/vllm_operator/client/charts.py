"""Charts of measured results: latency, throughput and queue depth, as SVG, PNG, HTML, or in a terminal.

Nothing is simulated: each function takes what was measured, and refuses to draw nothing. `pip install
'vllm-operator[charts]'` brings altair, vl-convert (SVG and PNG without a browser) and plotext (terminal).
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vllm_operator.client.chart_terminal import TerminalChart, TerminalLine
from vllm_operator.client.engine_load import QueueSample

if TYPE_CHECKING:
    import altair

Metric = Literal["latency", "time_to_first_token", "tokens_per_second"]
METRICS: dict[Metric, str] = {
    "latency": "Latency (s)",
    "time_to_first_token": "Time to first token (s)",
    "tokens_per_second": "Tokens a second",
}
WIDTH, HEIGHT = 640, 320
"""Pixels of a chart."""
MAX_POINTS = 2000
"""Points of a line. A longer series is summed up in that number of groups, with the median and the highest of each."""
NOT_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
"""Characters outside of XML 1.0, section 2.2."""
NEAR_MAXIMUM = 0.95
"""Share of the highest throughput from which more requests in flight are not worth it."""
SAVERS: dict[str, Callable[[MeasuredChart], bytes]] = {
    ".svg": lambda chart: chart.svg().encode(),
    ".png": lambda chart: chart.png(),
    ".html": lambda chart: chart.html().encode(),
    ".json": lambda chart: chart.altair.to_json().encode(),
    ".txt": lambda chart: f"{chart.terminal()}\n".encode(),
}


@dataclass(frozen=True, slots=True)
class ThroughputPoint:
    """The throughput that was measured with a number of requests in flight."""

    concurrency: int
    requests_per_second: float
    tokens_per_second: float | None = None
    """Generated tokens a second of all requests together. None when the server did not count them."""


@dataclass(frozen=True)
class MeasuredChart:
    """A chart, which also shows itself in a notebook."""

    altair: altair.LayerChart | altair.Chart
    """The chart of altair, to change what you like."""
    _terminal: TerminalChart

    def svg(self) -> str:
        """Return the chart as SVG."""
        return str(_vl_convert().vegalite_to_svg(self._specification()))

    def png(self, scale: float = 2.0) -> bytes:
        """Return the chart as PNG; a scale of 2 has twice the pixels each way."""
        return bytes(_vl_convert().vegalite_to_png(self._specification(), scale=scale))

    def html(self) -> str:
        """Return the chart as a page that needs no network: the scripts are part of it."""
        return str(_vl_convert().vegalite_to_html(self._specification(), bundle=True))

    def _specification(self) -> Any:
        """Return the chart as Vega-Lite, without text that ends the process or a script of a page."""
        return _harmless(self.altair.to_dict(format="vega-lite"))

    def terminal(self, width: int = 80, height: int = 20, *, color: bool = False) -> str:
        """Return the chart as text of some columns and rows."""
        return self._terminal.text(width, height, color=color)

    def save(self, path: Path | str) -> Path:
        """Write the chart in the format of the suffix: `.svg`, `.png`, `.html`, `.json` (Vega-Lite) or `.txt`."""
        path = Path(path)
        saver = SAVERS.get(path.suffix.lower())
        if saver is None:
            raise ValueError(f"{path}: the suffix {path.suffix or '(none)'} is not known: use {', '.join(SAVERS)}")
        path.write_bytes(saver(self))
        return path

    def _repr_mimebundle_(self, *args: Any, **options: Any) -> Any:
        """Show the chart in a notebook."""
        return self.altair._repr_mimebundle_(*args, **options)


def latency_chart(
    results: Mapping[str, Iterable[object]] | Iterable[object],
    *,
    metric: Metric = "latency",
    title: str = "",
) -> MeasuredChart:
    """Draw the latency of each request, in the order of the results.

    Args:
        results: responses, results of `run_batch`, or seconds; or several such series by name. Errors among them are
            counted in the title, not drawn.
        metric: attribute of the responses to draw.
        title: title; empty for one that says how many requests are shown.

    Raises:
        ValueError: there is nothing to draw, or a figure is no number of at least 0.
    """
    if metric not in METRICS:
        raise ValueError(f"metric: {metric!r} is not known: use one of {', '.join(METRICS)}")
    series, total = _latency_series(results, metric)
    failed = total - sum(map(len, series.values()))
    alt = _altair()
    rows = [row for name, values in series.items() for row in _latency_rows(name, values)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("request:Q", title="Request", axis=alt.Axis(tickMinStep=1)), color=alt.Color("series:N", title="Series")
    )
    is_grouped = any(row["statistic"] != "each" for row in rows)
    dash = alt.StrokeDash("statistic:N", title="Statistic", legend=alt.Legend() if is_grouped else None)
    chart = alt.layer(
        base.mark_line().encode(y=alt.Y("value:Q", title=METRICS[metric]), strokeDash=dash),
        base.transform_filter("datum.points == 1").mark_point().encode(y="value:Q"),
    ).properties(
        title=alt.Title(title or f"{METRICS[metric]} of {total - failed} requests", subtitle=_without(failed)),
        width=WIDTH,
        height=HEIGHT,
    )
    return MeasuredChart(chart, _latency_terminal(rows, METRICS[metric], title))


def _latency_series(
    results: Mapping[str, Iterable[object]] | Iterable[object], metric: Metric
) -> tuple[dict[str, list[float]], int]:
    """Return the figures of each series, and the number of all results.

    Raises:
        ValueError: a series has no figure, or a figure is no number of at least 0.
    """
    named = results if isinstance(results, Mapping) else {"all requests": results}
    series: dict[str, list[float]] = {}
    total = 0
    for name, items in named.items():
        values = [_measured(item, metric, f"{name}[{number}]") for number, item in enumerate(_items(items, name))]
        series[name] = [value for value in values if value is not None]
        total += len(values)
    empty = [name for name, values in series.items() if not values]
    if empty or not series:
        which = f"the series {', '.join(map(repr, empty))} " if series else "the chart "
        failed = total - sum(map(len, series.values()))
        raise ValueError(
            f"latency_chart: {which}has no measured {metric}: {failed} of {total} results are errors or have none. "
            "Pass the results of requests that were answered"
        )
    return series, total


def throughput_chart(points: Iterable[ThroughputPoint], *, title: str = "Throughput") -> MeasuredChart:
    """Draw requests (and tokens) a second over the requests in flight.

    The rule marks the fewest requests in flight with 95% of the highest throughput. It is drawn only where more were
    measured: otherwise throughput may still rise.

    Raises:
        ValueError: there is nothing to draw, or a figure is no number of at least 0.
    """
    measured = sorted(_items(points, "points"), key=lambda point: point.concurrency)
    if not measured:
        raise ValueError("throughput_chart: points is empty: measure at least one number of requests in flight")
    for point in measured:
        if point.concurrency < 1:
            raise ValueError(f"points: concurrency {point.concurrency} is below 1")
        _number(point.requests_per_second, f"points: requests_per_second at {point.concurrency}")
        _number(point.tokens_per_second or 0.0, f"points: tokens_per_second at {point.concurrency}")
    alt = _altair()
    rows = [
        {"concurrency": p.concurrency, "requests": p.requests_per_second, "tokens": p.tokens_per_second}
        for p in measured
    ]
    x = alt.X("concurrency:Q", title="Requests in flight", scale=alt.Scale(type="log", base=2))
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    layers = [base.mark_line(point=True).encode(y=alt.Y("requests:Q", title="Requests a second"))]
    if all(point.tokens_per_second is not None for point in measured):
        tokens = alt.Y("tokens:Q", title="Tokens a second (dashed)")
        layers.append(base.mark_line(point=True, strokeDash=[4, 4], color="darkorange").encode(y=tokens))
    knee = saturation(measured)
    subtitle = "The highest throughput may not be reached: measure with more requests in flight"
    if knee is not None:
        subtitle = f"{knee} requests in flight reach {NEAR_MAXIMUM:.0%} of the highest throughput"
        layers.append(alt.Chart(alt.Data(values=[{"concurrency": knee}])).mark_rule(strokeDash=[2, 2]).encode(x=x))
    chart = (
        alt.layer(*layers)
        .resolve_scale(y="independent")
        .properties(title=alt.Title(title, subtitle=subtitle), width=WIDTH, height=HEIGHT)
    )
    xs, ys = [float(point.concurrency) for point in measured], [point.requests_per_second for point in measured]
    line = TerminalLine("requests/s", xs, ys)
    return MeasuredChart(chart, TerminalChart(title, "requests in flight", "requests/s", (line,)))


def saturation(points: Sequence[ThroughputPoint]) -> int | None:
    """Return the fewest requests in flight with 95% of the highest throughput, or None when more were not measured."""
    highest = max(point.requests_per_second for point in points)
    knee = min(point.concurrency for point in points if point.requests_per_second >= NEAR_MAXIMUM * highest)
    return knee if knee < max(point.concurrency for point in points) and highest > 0 else None


def queue_depth_chart(samples: Iterable[QueueSample], *, title: str = "Requests in the engines") -> MeasuredChart:
    """Draw running and waiting requests over time, as `sample_queue` reads them from vLLM's metrics.

    Raises:
        ValueError: there is nothing to draw, or a figure is no number of at least 0.
    """
    measured = sorted(_items(samples, "samples"), key=lambda sample: sample.seconds)
    if not measured:
        raise ValueError("queue_depth_chart: samples is empty: read /metrics while requests run, by sample_queue")
    lines = []
    rows = []
    for state in ("running", "waiting"):
        values = [_number(getattr(sample, state), f"samples[{n}].{state}") for n, sample in enumerate(measured)]
        seconds = [_number(sample.seconds, f"samples[{n}].seconds") for n, sample in enumerate(measured)]
        rows += [{"seconds": s, "requests": v, "state": state} for s, v in _thinned(seconds, values)]
        lines.append(TerminalLine(state, seconds, values))
    alt = _altair()
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=len(measured) == 1)
        .encode(
            x=alt.X("seconds:Q", title="Seconds"),
            y=alt.Y("requests:Q", title="Requests"),
            color=alt.Color("state:N", title="State"),
        )
        .properties(title=title, width=WIDTH, height=HEIGHT)
    )
    return MeasuredChart(chart, TerminalChart(title, "seconds", "requests", tuple(lines)))


def _items(items: Iterable[Any], name: str) -> list[Any]:
    """Return the items of an argument as a list."""
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise ValueError(f"{name}: a {type(items).__name__} is no series of measured results: pass a list")
    return list(items)


def _measured(item: object, metric: Metric, name: str) -> float | None:
    """Return the figure of a result, or None for an error and for a result without the figure."""
    item = getattr(item, "outcome", item)
    if isinstance(item, BaseException):
        return None
    value = item if isinstance(item, int | float) else getattr(item, metric, None)
    return None if value is None else _number(value, name)


def _number(value: object, name: str) -> float:
    """Return a figure.

    Raises:
        ValueError: it is no number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}: {value!r} is no measured figure: it must be a number of at least 0")
    return float(value)


def _latency_rows(name: str, values: list[float]) -> list[dict[str, object]]:
    """Return the points of a series, or of the median and the highest of its groups."""
    if len(values) <= MAX_POINTS:
        found = [("each", number + 1, value) for number, value in enumerate(values)]
    else:
        size = math.ceil(len(values) / (MAX_POINTS // 2))
        groups = [(start + 1, values[start : start + size]) for start in range(0, len(values), size)]
        found = [("median", start, statistics.median(group)) for start, group in groups]
        found += [("highest", start, max(group)) for start, group in groups]
    return [
        {"series": name, "statistic": statistic, "request": x, "value": y, "points": len(values)}
        for statistic, x, y in found
    ]


def _latency_terminal(rows: list[dict[str, Any]], label: str, title: str) -> TerminalChart:
    """Return the chart of the terminal with a line for each series and statistic."""
    keys = dict.fromkeys((row["series"], row["statistic"]) for row in rows)
    lines = []
    for series, statistic in keys:
        points = [row for row in rows if (row["series"], row["statistic"]) == (series, statistic)]
        name = str(series) if statistic == "each" else f"{series}: {statistic}"
        lines.append(TerminalLine(name, [float(p["request"]) for p in points], [float(p["value"]) for p in points]))
    return TerminalChart(title or label, "request", label, tuple(lines))


def _thinned(xs: list[float], ys: list[float]) -> list[tuple[float, float]]:
    """Return the points of a line, or the highest of each group of a long one."""
    size = math.ceil(len(xs) / MAX_POINTS)
    return [(xs[start], max(ys[start : start + size])) for start in range(0, len(xs), size)]


def _harmless(value: Any) -> Any:
    """Return JSON whose texts hold no character that XML refuses, and nothing that ends a script in HTML."""
    if isinstance(value, dict):
        return {key: _harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    if not isinstance(value, str):
        return value
    # vl-convert ends the whole process for a text that is no XML. A space of no width keeps the look of a text.
    return re.sub("<(?=[/!])", "<\u200b", NOT_XML.sub(" ", value))


def _without(failed: int) -> str:
    """Return the subtitle about results that are not drawn."""
    return f"not shown: {failed} that are errors or have no such figure" if failed else ""


def _altair() -> Any:
    """Return the module altair.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import altair
    except ImportError as error:
        raise ImportError("charts need altair: pip install 'vllm-operator[charts]'") from error
    return altair


def _vl_convert() -> Any:
    """Return the module vl_convert.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise ImportError("SVG, PNG and HTML need vl-convert: pip install 'vllm-operator[charts]'") from error
    return vl_convert
