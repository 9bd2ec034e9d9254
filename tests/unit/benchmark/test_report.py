from __future__ import annotations

import csv
import io
import json

import pytest

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark.report import (
    FORMAT,
    ReportError,
    as_json,
    from_json,
    requests_csv,
    samples_csv,
    seconds,
    table,
)


def test_json_is_read_again_with_the_same_figures() -> None:
    text = as_json(report())
    again = from_json(text)
    assert again.figures == report().figures
    assert again.samples == report().samples
    assert json.loads(text)["format"] == FORMAT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no", "it is no JSON"),
        ("[]", f"its format is not {FORMAT}"),
        ("{}", f"its format is not {FORMAT}"),
        (json.dumps({"format": FORMAT}), "malformed"),
        (json.dumps({"format": FORMAT, "requests": [{"x": 1}]}), "unknown fields"),
        (json.dumps({"format": FORMAT, "requests": [{"stage": "a", "started": "x", "first_token": 1, "latency": 1}]}),
         "started is no number"),
        (json.dumps({"format": FORMAT, "requests": [3]}), "unknown fields"),
    ],
)  # fmt: skip
def test_other_files_are_refused(text: str, words: str) -> None:
    with pytest.raises(ReportError, match=words):
        from_json(text)


def test_csv_has_a_line_for_each_request_and_sample() -> None:
    rows = list(csv.DictReader(io.StringIO(requests_csv(report()))))
    assert len(rows) == 9
    assert float(rows[0]["seconds_per_token"]) == pytest.approx(0.09)
    samples = list(csv.DictReader(io.StringIO(samples_csv(report()))))
    assert samples[9]["phases"] == "Loading=1 Serving=1"


def test_the_table_has_a_row_for_each_stage() -> None:
    head, *rows = table(report())
    assert [row[0] for row in rows] == ["concurrent=1", "concurrent=4"]
    assert all(len(row) == len(head) for row in rows)
    assert rows[1][1:3] == ["5", "1"]


def test_times_have_their_unit() -> None:
    assert seconds(0.0123) == "12.3 ms"
    assert seconds(1.234) == "1.23 s"
