from __future__ import annotations

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark import pictures, timeline
from vllm_operator.benchmark.records import MeasuredRequest, Sample


def test_clients_and_server_are_one_picture_over_the_same_seconds() -> None:
    chart = pictures.server(report())
    spec = chart.to_dict()
    assert len(spec["vconcat"]) == 5
    assert spec["resolve"]["scale"]["x"] == "shared"
    domains = {tuple(part["encoding"]["x"]["scale"]["domain"]) for part in spec["vconcat"]}
    assert domains == {(0, 9.0)}
    text = pictures.svg(chart)
    for word in (
        "First token",
        "running",
        "waiting",
        "wanted by the autoscaler",
        "target of the autoscaler",
        "Loading",
    ):
        assert word in text


def test_parts_without_a_reading_are_left_out() -> None:
    assert len(timeline.server([Sample(0.0, 1.0, 0.0), Sample(1.0, 2.0, 0.0)]).to_dict()["vconcat"]) == 1
    assert timeline.server([Sample(0.0)]) is None


def test_a_single_sample_and_an_unknown_phase_are_drawn() -> None:
    chart = timeline.server([Sample(0.0, replicas=1, phases={"Waking": 1})])
    assert "Waking" in pictures.svg(chart)


def test_long_measurements_are_thinned() -> None:
    samples = [Sample(float(second), 1.0, 0.0) for second in range(10_000)]
    requests = [MeasuredRequest("a", float(second), 9.0 if second == 7_777 else 0.1, 10.0) for second in range(10_000)]
    chart = timeline.server(samples, requests).to_dict()
    data = [
        chart["datasets"][part["data"]["name"]] if "name" in part["data"] else part["data"]["values"]
        for part in chart["vconcat"]
    ]
    assert 1000 <= len(data[1]) / 2 <= 2000
    assert len(data[0]) <= timeline.MOST_POINTS
    assert max(row["value"] for row in data[0]) == 9.0
