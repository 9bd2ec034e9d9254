from __future__ import annotations

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark import pictures
from vllm_operator.benchmark.records import MeasuredRequest
from vllm_operator.benchmark.report import Report

PNG = b"\x89PNG\r\n"


def test_percentiles_have_a_panel_for_each_time() -> None:
    text = pictures.svg(pictures.percentiles(report()))
    for word in ("Latency (s)", "Time to first token (s)", "Time per output token (s)", "p50", "p99", "concurrent=4"):
        assert word in text


def test_all_charts_are_one_png() -> None:
    assert pictures.png(pictures.whole(report())).startswith(PNG)


def test_a_single_stage_has_no_curve_and_failed_requests_no_latency() -> None:
    failed = Report({}, [MeasuredRequest("a", 0.0, None, 1.0, error="x")])
    assert pictures.throughput(failed) is None
    assert pictures.percentiles(failed) is None
    assert pictures.whole(failed) is None
