"""Requests are counted from the first answer of a replica on, by the real promtool."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers.monitored_servers import server
from vllm_operator.desired.promql import number, percent, requests_in
from vllm_operator.vllm.metric_series import server_series

POD = 'namespace="llm",pod="mistral-5f9c6d7b8-x2k7b"'
FAILED = f'http_requests_total{{{POD},job="a",handler="/v1/completions",method="POST",status="5xx"}}'
SCRAPED = f'vllm:num_requests_running{{{POD},job="a",engine="0",model_name="m"}}'
STARTED = f'process_start_time_seconds{{{POD},job="a"}}'
HOUR_OF_SCRAPES = {"series": SCRAPED, "values": "0x240"}


@pytest.mark.parametrize(
    ("story", "series", "expected"),
    [
        ("50 fail at once, the first ones", [{"series": FAILED, "values": "_x119 50x121"}, HOUR_OF_SCRAPES], 50),
        ("one more fails later", [{"series": FAILED, "values": "50x110 51x130"}, HOUR_OF_SCRAPES], 1.05),
        ("the first ones, seen by two jobs", [
            {"series": FAILED, "values": "_x119 50x121"}, HOUR_OF_SCRAPES,
            {"series": FAILED.replace('job="a"', 'job="b"'), "values": "_x119 50x121"},
        ], 50),
        ("Prometheus was away for an hour", [
            {"series": FAILED, "values": "_x119 50x121"}, {"series": SCRAPED, "values": "_x119 0x121"},
            {"series": STARTED, "values": "_x119 -90000x121"},
        ], 0),
        ("the replica has just started", [
            {"series": FAILED, "values": "_x119 50x121"}, {"series": SCRAPED, "values": "_x119 0x121"},
            {"series": STARTED, "values": "_x119 1700x121"},
        ], 50),
        ("long ago", [{"series": FAILED, "values": "_x19 50x221"}, HOUR_OF_SCRAPES], 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_requests(story: str, series: list[dict[str, str]], expected: float, run_rules: Callable[..., None]) -> None:
    requests = requests_in(server_series(server()), 'status="5xx"')
    query = f"round({requests}, 0.05)"
    samples = [{"labels": "{}", "value": expected}]
    run_rules(
        {}, {"input_series": series, "promql_expr_test": [{"expr": query, "eval_time": "31m", "exp_samples": samples}]}
    )


def test_numbers_are_written_without_noise() -> None:
    assert (number(0.1 + 0.2), percent(1 - 0.999)) == ("0.3", "0.1%")
