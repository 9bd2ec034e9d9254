"""Charts of measured results: drawn by the real altair, vl-convert and plotext."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_operator.client.batch.results import BatchResult
from vllm_operator.client.charts import (
    MAX_POINTS,
    MeasuredChart,
    ThroughputPoint,
    latency_chart,
    queue_depth_chart,
    saturation,
    throughput_chart,
)
from vllm_operator.client.engine_load import QueueSample
from vllm_operator.client.errors import ServerFailed
from vllm_operator.client.responses import Choice, CompletionResponse, Usage

POINTS = [ThroughputPoint(n, rate, rate * 20) for n, rate in ((1, 5.0), (8, 32.0), (64, 110.0), (128, 112.0))]
SAMPLES = [QueueSample(seconds / 2, 20 + seconds % 3, max(0, seconds - 10)) for seconds in range(40)]


def answer(latency: float, first_token: float | None = None) -> CompletionResponse:
    """Return an answer that took some seconds."""
    return CompletionResponse(
        id="1",
        model="m",
        choices=(Choice(content="x"),),
        usage=Usage(completion_tokens=11),
        latency=latency,
        time_to_first_token=first_token,
    )


def rows(chart: MeasuredChart) -> list[dict[str, Any]]:
    """Return the data of a chart."""
    found = chart.altair.to_dict()
    data = found.get("data") or found["layer"][0]["data"]
    values: list[dict[str, Any]] = data.get("values") or found["datasets"][data["name"]]
    return values


@pytest.mark.parametrize("chart", [latency_chart([0.1, 0.2]), throughput_chart(POINTS), queue_depth_chart(SAMPLES)])
def test_chart_is_written_in_each_format(chart: MeasuredChart, tmp_path: Path) -> None:
    for suffix, start in (
        (".svg", b"<svg"),
        (".png", b"\x89PNG\r\n"),
        (".html", b"<!DOCTYPE html>"),
        (".json", b"{"),
        (".txt", b" "),
    ):
        path = chart.save(tmp_path / f"chart{suffix}")
        assert path.read_bytes().startswith(start)


def test_page_needs_no_network() -> None:
    page = latency_chart([0.1, 0.2]).html()

    assert "cdn." not in page
    assert 'src="http' not in page
    assert "vegaEmbed" in page


def test_suffix_that_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the suffix \.pdf is not known: use \.svg, \.png, \.html, \.json, \.txt"):
        latency_chart([0.1]).save(tmp_path / "chart.pdf")

    assert list(tmp_path.iterdir()) == []


def test_latency_of_responses_results_and_seconds_is_drawn() -> None:
    chart = latency_chart({"a": [answer(0.5), BatchResult(1, None, answer(0.25)), 0.125, 2], "b": [0.5]})

    assert [(row["series"], row["request"], row["value"]) for row in rows(chart)] == [
        ("a", 1, 0.5),
        ("a", 2, 0.25),
        ("a", 3, 0.125),
        ("a", 4, 2.0),
        ("b", 1, 0.5),
    ]


def test_errors_are_counted_and_not_drawn() -> None:
    chart = latency_chart([answer(0.5), ServerFailed("x"), BatchResult(2, None, ServerFailed("y")), answer(0.6)])

    assert len(rows(chart)) == 2
    title = chart.altair.to_dict()["title"]
    assert title["text"] == "Latency (s) of 2 requests"
    assert title["subtitle"] == "not shown: 2 that are errors or have no such figure"


def test_other_figures_of_responses_are_drawn() -> None:
    answers = [answer(1.0, 0.2), answer(2.0, 0.3)]

    assert [row["value"] for row in rows(latency_chart(answers, metric="time_to_first_token"))] == [0.2, 0.3]
    assert len(rows(latency_chart(answers, metric="tokens_per_second"))) == 2
    with pytest.raises(ValueError, match="no measured time_to_first_token: 1 of 1 results"):
        latency_chart([answer(1.0)], metric="time_to_first_token")
    with pytest.raises(ValueError, match=r"^metric: 'speed' is not known: use one of latency, "):
        latency_chart(answers, metric="speed")  # type: ignore[arg-type]


def test_long_series_is_summed_up_by_median_and_highest() -> None:
    chart = latency_chart([1.0] * 49_999 + [9.0])

    assert len(rows(chart)) <= MAX_POINTS
    assert {row["statistic"] for row in rows(chart)} == {"median", "highest"}
    assert max(row["value"] for row in rows(chart) if row["statistic"] == "median") == 1.0
    assert max(row["value"] for row in rows(chart) if row["statistic"] == "highest") == 9.0


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "latency_chart: the series 'all requests' has no measured latency: 0 of 0 results"),
        ({}, "latency_chart: the chart has no measured latency"),
        ({"good": [0.5], "bad": [ServerFailed("x")]}, "latency_chart: the series 'bad' has no measured latency"),
        ([0.1, float("nan")], r"all requests\[1\]: nan is no measured figure"),
        ([float("inf")], r"all requests\[0\]: inf is no measured figure"),
        ([-0.1], r"all requests\[0\]: -0.1 is no measured figure"),
        ([True], r"all requests\[0\]: True is no measured figure"),
        ("text", "all requests: a str is no series of measured results"),
        ({"a": 5}, "a: a int is no series of measured results"),
    ],
)
def test_nothing_is_drawn_of_nothing(results: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        latency_chart(results)


def test_throughput_marks_where_more_requests_bring_nothing() -> None:
    assert saturation(POINTS) == 64
    subtitle = throughput_chart(POINTS).altair.to_dict()["title"]["subtitle"]
    assert subtitle == "64 requests in flight reach 95% of the highest throughput"


def test_throughput_that_may_still_rise_is_not_marked() -> None:
    assert saturation(POINTS[:3]) is None
    assert "may not be reached" in throughput_chart(POINTS[:3]).altair.to_dict()["title"]["subtitle"]
    assert saturation([ThroughputPoint(1, 0.0), ThroughputPoint(2, 0.0)]) is None


def test_tokens_are_drawn_only_when_they_are_known() -> None:
    with_tokens = throughput_chart(POINTS).altair.to_dict()
    without = throughput_chart([ThroughputPoint(1, 5.0), ThroughputPoint(2, 9.0)]).altair.to_dict()

    assert len(with_tokens["layer"]) == 3
    assert len(without["layer"]) == 1


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "throughput_chart: points is empty"),
        ([ThroughputPoint(0, 1.0)], "points: concurrency 0 is below 1"),
        ([ThroughputPoint(4, float("nan"))], "points: requests_per_second at 4: nan is no measured figure"),
        ([ThroughputPoint(4, 1.0, -1.0)], "points: tokens_per_second at 4: -1.0 is no measured figure"),
    ],
)
def test_throughput_that_makes_no_sense_is_refused(points: list[ThroughputPoint], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        throughput_chart(points)


def test_queue_is_drawn_in_the_order_of_time() -> None:
    chart = queue_depth_chart(reversed(SAMPLES))

    waiting = [(row["seconds"], row["requests"]) for row in rows(chart) if row["state"] == "waiting"]
    assert waiting == [(sample.seconds, sample.waiting) for sample in SAMPLES]


def test_peak_of_a_long_measurement_stays_visible() -> None:
    samples = [QueueSample(float(n), 1, 500 if n == 12_345 else 0) for n in range(50_000)]

    chart = queue_depth_chart(samples)

    assert len(rows(chart)) <= 2 * MAX_POINTS
    assert max(row["requests"] for row in rows(chart)) == 500


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "queue_depth_chart: samples is empty: read /metrics while requests run"),
        ([QueueSample(0, 1, float("nan"))], r"samples\[0\]\.waiting: nan is no measured figure"),
        ([QueueSample(0, -1, 0)], r"samples\[0\]\.running: -1 is no measured figure"),
        ([QueueSample(-1, 0, 0)], r"samples\[0\]\.seconds: -1 is no measured figure"),
    ],
)
def test_queue_that_makes_no_sense_is_refused(samples: list[QueueSample], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        queue_depth_chart(samples)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_any_measured_figures_are_drawn(values: list[float]) -> None:
    chart = latency_chart(values)

    assert [row["value"] for row in rows(chart)] == values
    assert len(chart.terminal(60, 12).rstrip("\n").splitlines()) == 12


@pytest.mark.parametrize("module", ["altair", "vl_convert", "plotext"])
def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    chart = latency_chart([0.1])
    monkeypatch.setitem(sys.modules, module, None)

    def use() -> None:
        latency_chart([0.1])
        chart.svg()
        chart.terminal()

    with pytest.raises(ImportError, match=r"pip install 'vllm-operator\[charts\]'"):
        use()


def test_notebook_shows_the_chart() -> None:
    assert latency_chart([0.1])._repr_mimebundle_() is not None


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "\x1b[31m", "\uffff"])
def test_name_that_is_no_xml_is_drawn_and_ends_nothing(name: str) -> None:
    chart = latency_chart({name: [1.0, 2.0]}, title=name)

    assert chart.svg().startswith("<svg")
    assert chart.png(scale=1).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<!--<script>"])
def test_name_cannot_run_a_script_in_the_page(name: str) -> None:
    assert name not in latency_chart({name: [1.0]}, title=name).html()
