from __future__ import annotations

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark import pictures
from vllm_operator.benchmark.records import MeasuredRequest, Sample
from vllm_operator.benchmark.report import Report

PNG = b"\x89PNG\r\n"


def test_the_server_is_one_picture_over_the_same_seconds() -> None:
    chart = pictures.server(report().samples)
    spec = chart.to_dict()
    assert len(spec["vconcat"]) == 4
    assert spec["resolve"]["scale"]["x"] == "shared"
    text = pictures.svg(chart)
    for word in ("running", "waiting", "wanted by the autoscaler", "target of the autoscaler", "Loading"):
        assert word in text


def test_parts_without_a_reading_are_left_out() -> None:
    assert len(pictures.server([Sample(0.0, 1.0, 0.0), Sample(1.0, 2.0, 0.0)]).to_dict()["vconcat"]) == 1
    assert pictures.server([Sample(0.0)]) is None


def test_long_measurements_are_thinned() -> None:
    samples = [Sample(float(second), 1.0, 0.0) for second in range(10_000)]
    chart = pictures.server(samples).to_dict()
    rows = (chart["vconcat"][0].get("data") or chart["data"])["values"]
    assert 1000 <= len(rows) / 2 <= 2000


def test_all_charts_are_one_png() -> None:
    assert pictures.png(pictures.whole(report())).startswith(PNG)


def test_a_single_stage_has_no_curve_and_failed_requests_no_latency() -> None:
    failed = Report({}, [MeasuredRequest("a", 0.0, None, 1.0, error="x")])
    assert pictures.throughput(failed) is None
    assert pictures.latency(failed) is None
    assert pictures.first_token(failed) is None
    assert pictures.whole(failed) is None
