from __future__ import annotations

from dataclasses import replace

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark.comparison import compare


def verdicts(before, after) -> dict[tuple[str, str], str]:
    return {(one.stage, one.figure): one.verdict for one in compare(before, after)[0]}


def test_the_same_measurement_is_the_same() -> None:
    assert set(verdicts(report(), report()).values()) == {"same"}
    assert compare(report(), report())[1] == []


def test_slower_is_worse_and_fewer_requests_too() -> None:
    found = verdicts(report(), report(1.5))
    assert found["concurrent=1", "latency p50"] == "worse"
    assert found["concurrent=1", "requests/s"] == "worse"
    assert verdicts(report(1.5), report())["concurrent=1", "latency p99"] == "better"


def test_changes_are_relative_to_the_first() -> None:
    (one,) = [
        one for one in compare(report(), report(1.5))[0] if (one.stage, one.figure) == ("concurrent=1", "latency p50")
    ]
    assert (one.before, one.after, round(one.change or 0, 3)) == (1.0, 1.5, 0.5)


def test_small_changes_count_as_the_same() -> None:
    assert verdicts(report(), report(1.01))["concurrent=1", "latency p50"] == "same"


def test_what_makes_them_unlike_is_said() -> None:
    other = report(model="large")
    other = replace(other, requests=[one for one in other.requests if one.stage == "concurrent=1"])
    assert compare(report(), other)[1] == [
        "only the first has the load concurrent=4",
        "they differ in model: tiny and large",
    ]
