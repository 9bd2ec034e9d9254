"""One picture of the seconds of a measurement: what clients saw, and what the server did at the same time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vllm_operator.benchmark.records import MeasuredRequest, Sample

WIDTH, HEIGHT = 720, 130
"""Pixels of one part of the picture."""

MOST_POINTS = 1500
"""Samples, or requests, that are drawn; of more samples every n-th, of more requests the slowest of each group."""

GREEN, PALE_GREEN, GREY, AMBER, RED, VIOLET = "#2ca02c", "#98df8a", "#c7c7c7", "#ffbb78", "#d62728", "#9467bd"

PHASE_COLOURS = {
    "Serving": GREEN,
    "Draining": PALE_GREEN,
    "Scheduling": GREY,
    "Pulling": "#aec7e8",
    "Downloading": "#ffe0b3",
    "Loading": AMBER,
    "Stalled": RED,
    "CrashLooping": "#8c1515",
    "Failed": "#ff7f7f",
}
"""Phase of a replica -> its colour; other phases are violet."""

MOST_TICKS = 10
"""Ticks of an axis of whole numbers that are all named."""


def server(samples: Sequence[Sample], requests: Sequence[MeasuredRequest] = ()) -> Any:
    """Return one picture of the same seconds; None when nothing was read.

    From above: the time to the first token of each request, requests in the engines, ready replicas and those that the
    autoscaler wants, requests per replica and its target, phases. Parts without a single reading are left out.
    """
    alt = _altair()
    thinned = samples[:: max(1, len(samples) // MOST_POINTS)]
    seconds = alt.X("seconds:Q", title="Seconds", scale=alt.Scale(domain=[0, _end(samples, requests)], nice=False))
    readings = [_queue(thinned), _replicas(thinned), _load(thinned), _phases(thinned)]
    if not any(rows for rows, *_ in readings):
        return None
    charts = [_points(alt, seconds, requests), *(_part(alt, seconds, *reading) for reading in readings)]
    return (
        alt.vconcat(*(chart for chart in charts if chart is not None))
        .resolve_scale(x="shared", color="independent", strokeDash="independent")
        .properties(title="Clients and server, second by second")
    )


def _end(samples: Sequence[Sample], requests: Sequence[MeasuredRequest]) -> float:
    last = [sample.seconds for sample in samples[-1:]] + [one.started + one.latency for one in requests]
    return max([*last, 1.0])


def _points(alt: Any, seconds: Any, requests: Sequence[MeasuredRequest]) -> Any:
    """Return the time to the first token of each request at the second of its start."""
    known = sorted((one.started, one.first_token, one.stage) for one in requests if one.first_token is not None)
    if not known:
        return None
    size = math.ceil(len(known) / MOST_POINTS)
    slowest = [max(known[start : start + size], key=lambda one: one[1]) for start in range(0, len(known), size)]
    rows = [{"seconds": started, "value": first, "series": stage} for started, first, stage in slowest]
    return (
        alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT)
        .mark_point(filled=True, size=22, opacity=0.7)
        .encode(
            x=seconds,
            y=alt.Y("value:Q", title="First token (s)"),
            color=alt.Color("series:N", title=None, sort=None),
        )
    )


Rows = list[dict[str, Any]]
Reading = tuple[Rows, str, str]
"""Points, title, and mark: `line`, `step` or `area`."""


def _part(alt: Any, seconds: Any, rows: Rows, title: str, mark: str) -> Any:
    if not rows:
        return None
    known = list(dict.fromkeys(row["series"] for row in rows))
    chart = alt.Chart(alt.Data(values=rows), width=WIDTH, height=HEIGHT)
    colour = alt.Color("series:N", title=None, sort=None)
    value = {"title": title, "stack": None, "scale": alt.Scale(domainMin=0)}
    if mark == "area":
        colours = [PHASE_COLOURS.get(name, VIOLET) for name in known]
        area = chart.mark_area(opacity=0.8, interpolate="step-after")
        axis = _whole_numbers(alt, rows, len(known))
        return area.encode(
            x=seconds,
            y=alt.Y("value:Q", **{**value, "stack": True}, axis=axis),
            color=colour.scale(domain=known, range=colours),
        )
    if mark == "line":
        return chart.mark_line().encode(x=seconds, y=alt.Y("value:Q", **value), color=colour)
    dash = alt.StrokeDash("series:N", legend=None).scale(domain=known, range=[[1, 0], [6, 4]])
    y = alt.Y("value:Q", **value, axis=_whole_numbers(alt, rows, 1))
    return chart.mark_line(interpolate="step-after").encode(x=seconds, y=y, color=colour, strokeDash=dash)


def _whole_numbers(alt: Any, rows: Rows, stacked: int) -> Any:
    """Return an axis that names each whole number, while they are few."""
    highest = math.ceil(max(row["value"] for row in rows)) * stacked
    return alt.Axis(format="d", values=list(range(highest + 1))) if highest <= MOST_TICKS else alt.Axis()


def _lines(samples: Sequence[Sample], names: dict[str, str]) -> Rows:
    return [
        {"seconds": sample.seconds, "value": value, "series": label}
        for name, label in names.items()
        for sample in samples
        if (value := getattr(sample, name)) is not None
    ]


def _queue(samples: Sequence[Sample]) -> Reading:
    return _lines(samples, {"running": "running", "waiting": "waiting"}), "Requests", "line"


def _replicas(samples: Sequence[Sample]) -> Reading:
    names = {"replicas": "ready", "wanted": "wanted by the autoscaler"}
    return _lines(samples, names), "Replicas", "step"


def _load(samples: Sequence[Sample]) -> Reading:
    names = {"average": "running, as the autoscaler reads", "target": "target of the autoscaler"}
    return _lines(samples, names), "Requests per replica", "step"


def _phases(samples: Sequence[Sample]) -> Reading:
    known = sorted({phase for sample in samples for phase in sample.phases})
    rows = [
        {"seconds": sample.seconds, "value": sample.phases.get(phase, 0), "series": phase}
        for phase in known
        for sample in samples
    ]
    return rows, "Replicas by phase", "area"


def _altair() -> Any:
    import altair

    return altair
