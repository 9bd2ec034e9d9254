"""Each objective fires its burn-rate alerts when it is missed, and stays silent else, by the real promtool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.helpers.monitored_servers import rules, server
from vllm_operator.desired.alerts import alert_subject
from vllm_operator.desired.monitoring import prometheus_rule_plan
from vllm_operator.desired.objectives import (
    BURN_RATES,
    FAST,
    INTERVAL_SECONDS,
    SLOW,
    alerts,
    can_fire,
    indicators,
    records,
)

TARGET = 'namespace="llm",pod="mistral-5f9c6d7b8-x2k7b",job="llm/mistral"'
ENGINE = f'{TARGET},engine="0",model_name="mistral-7b"'
CHAT = f'{TARGET},handler="/v1/chat/completions",method="POST"'

AVAILABILITY = {"availability": {"objective": 0.999}}
LATENCIES = {
    "timeToFirstToken": ("vllm:time_to_first_token_seconds", 1, "1.0"),
    "timePerOutputToken": ("vllm:request_time_per_output_token_seconds", 0.1, "0.1"),
    "latency": ("vllm:e2e_request_latency_seconds", 30, "30.0"),
}
"""Objective -> its histogram, a threshold, and the bound as vLLM writes it."""

MINUTES = 360
"""Longest series of the stories, which have a sample each minute."""


def answers(good: str, bad: str, target: str = CHAT) -> list[dict[str, str]]:
    """Return the counters of a replica that is scraped all the time: answered and failed requests."""
    return [
        {"series": f"vllm:num_requests_running{{{ENGINE}}}", "values": f"1x{MINUTES}"},
        {"series": f'http_requests_total{{{target},status="2xx"}}', "values": good},
        {"series": f'http_requests_total{{{target},status="5xx"}}', "values": bad},
    ]


def times(name: str, all_requests: str, within: str, histogram: str = "", bound: str = "") -> list[dict[str, str]]:
    """Return the histogram of an objective: all requests, and those within the threshold."""
    known, _, known_bound = LATENCIES[name]
    base, le = histogram or known, bound or known_bound
    return [
        {"series": f"{base}_count{{{ENGINE}}}", "values": all_requests},
        {"series": f'{base}_bucket{{{ENGINE},le="+Inf"}}', "values": all_requests},
        {"series": f'{base}_bucket{{{ENGINE},le="{le}"}}', "values": within},
    ]


def growing(*parts: tuple[int, float]) -> str:
    """Return a counter in promtool's notation: minutes, and its growth in each of them."""
    value, text = 0.0, []
    for minutes, step in parts:
        text.append(f"{value:g}+{step:g}x{minutes - 1}")
        value += step * minutes
    return " ".join(text)


def slo(name: str, objective: float = 0.99) -> dict[str, Any]:
    """Return the spec of one objective about times."""
    return {name: {"objective": objective, "thresholdSeconds": LATENCIES[name][1]}}


@dataclass(frozen=True)
class Case:
    """A course of events, and the windows of the alerts that fire at a time: name -> windows."""

    story: str
    series: list[dict[str, str]]
    fires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    slo: dict[str, Any] = field(default_factory=lambda: AVAILABILITY)
    at: str = "40m"


ALL = {FAST: ("1h", "6h"), SLOW: ("3d",)}
STEADY, NONE = growing((MINUTES, 100)), f"0x{MINUTES}"
FEW = growing((10, 0), (20, 1), (MINUTES - 30, 0))
"""20 requests in 20 minutes."""

CASES = [
    Case("one of ten thousand fails", answers(STEADY, growing((MINUTES, 0.01)))),
    Case("no request fails, and the series of failures is missing", answers(STEADY, f"_x{MINUTES}")),
    Case("nobody asks", answers(f"7x{MINUTES}", NONE)),
    Case("nothing is scraped", []),
    Case("half of all fail", answers(STEADY, STEADY), ALL),
    Case("two of a hundred fail for an hour, after four good ones",
         answers(STEADY, growing((240, 0), (120, 2))), {FAST: ("1h",), SLOW: ("3d",)}, at="300m"),
    Case("half of all failed until 10 minutes ago",
         answers(STEADY, growing((15, 0), (15, 50), (330, 0))), {FAST: ("6h",), SLOW: ("3d",)}),
    Case("half of all failed until two hours ago",
         answers(STEADY, growing((30, 50), (330, 0))), {SLOW: ("3d",)}, at="150m"),
    Case("half of all failed more than six hours ago", answers("0+100x430", growing((20, 50), (410, 0))), at="400m"),
    Case("two of a thousand fail, all the time", answers(STEADY, growing((MINUTES, 0.2))), {SLOW: ("3d",)}),
    Case("50 fail at once, the first ones", answers(STEADY, f"_x30 50x{MINUTES}"), {FAST: ("6h",)}, at="37m"),
    Case("few requests: 20, and all fail", answers(f"_x{MINUTES}", FEW)),
    Case("few requests, where fewer are enough",
         answers(f"_x{MINUTES}", FEW), {FAST: ("1h", "6h")}, {**AVAILABILITY, "minRequests": 15}, at="30m"),
    Case("few failures: 3 of 40", answers(growing((2, 0), (37, 1), (321, 0)), f"0x33 1 2 3x{MINUTES}")),
    Case("clients send nonsense",
         [*answers(STEADY, NONE), {"series": f'http_requests_total{{{CHAT},status="4xx"}}', "values": STEADY}]),
    Case("a tokenizer call fails, which needs no engine",
         answers(STEADY, STEADY, CHAT.replace("/v1/chat/completions", "/tokenize"))),
    Case("the replica restarts again and again", answers("0+100x9 " * 12, NONE)),
    Case("a failing replica is replaced",
         [*answers(f"0x30 _x{MINUTES}", f"0+50x30 _x{MINUTES}"),
          *(dict(one, series=one["series"].replace("x2k7b", "zz2k9"))
            for one in answers(f"_x30 0+100x{MINUTES}", f"_x30 0x{MINUTES}"))],
         ALL, at="32m"),
    *(Case(f"{name}: one of four is late", times(name, STEADY, growing((MINUTES, 75))), ALL, slo(name))
      for name in LATENCIES),
    *(Case(f"{name}: none is late", times(name, STEADY, STEADY), slo=slo(name)) for name in LATENCIES),
    *(Case(f"{name}: few requests", times(name, FEW, NONE), slo=slo(name)) for name in LATENCIES),
    Case("a collector writes the bound without decimals",
         times("latency", STEADY, STEADY, bound="30"), slo=slo("latency")),
    Case("all are late, by an objective whose fast alert can never fire",
         times("latency", STEADY, NONE), {FAST: ("6h",), SLOW: ("3d",)}, slo("latency", 0.9)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.story)
def test_burn_rate_alerts(case: Case, run_rules: Callable[..., None]) -> None:
    [name] = {key for key in case.slo if key != "minRequests"}
    samples = [
        {"labels": f'{{alertname="{alert}",namespace="llm",slo="{name}",vllmserver="mistral",window="{window}"}}',
         "value": 1}
        for alert, windows in case.fires.items() for window in windows
    ]  # fmt: skip
    query = 'count by (alertname, namespace, slo, vllmserver, window) (ALERTS{alertstate="firing",slo!=""})'
    expectation = {"expr": query, "eval_time": case.at, "exp_samples": samples}
    wanted = server(monitoring={"slo": case.slo, "alerts": {"enabled": False}})
    run_rules(
        rules(wanted),
        {"interval": "1m", "input_series": case.series, "promql_expr_test": [expectation]},
        INTERVAL_SECONDS,
    )


@pytest.mark.parametrize(
    ("version", "histogram"),
    [
        ("0.32.0", "vllm:request_time_per_output_token_seconds"),
        ("0.11.2", "vllm:inter_token_latency_seconds"),
        ("0.9.2", "vllm:time_per_output_token_seconds"),
    ],
)
def test_alert_fires_by_the_names_of_each_vllm(version: str, histogram: str, run_rules: Callable[..., None]) -> None:
    series = times("timePerOutputToken", STEADY, f"0x{MINUTES}", histogram)
    query = f'count by (alertname) (ALERTS{{alertstate="firing",alertname="{FAST}"}})'
    expectation = {
        "expr": query,
        "eval_time": "30m",
        "exp_samples": [{"labels": f'{{alertname="{FAST}"}}', "value": 2}],
    }
    wanted = server(version=version, monitoring={"slo": slo("timePerOutputToken"), "alerts": {"enabled": False}})
    run_rules(
        rules(wanted), {"interval": "1m", "input_series": series, "promql_expr_test": [expectation]}, INTERVAL_SECONDS
    )


def test_texts_have_the_value_the_objective_and_the_limit(run_rules: Callable[..., None]) -> None:
    labels = {"severity": "critical", "namespace": "llm", "vllmserver": "mistral", "slo": "availability"}
    text = (
        "50% of the requests of {} ended in a server error; the objective allows 0.1%, the alert {}% "
        "({} times as fast as its 30 days allow)."
    )
    expected = [
        {
            "exp_labels": {**labels, "window": window},
            "exp_annotations": {
                "summary": "VLLMServer llm/mistral: the error budget of availability runs out",
                "description": text.format(window, limit, factor),
                "runbook_url": f"https://wiki.example/{FAST}",
            },
        }
        for window, limit, factor in (("1h", "1.44", "14.4"), ("6h", "0.6", "6"))
    ]
    alert = {"eval_time": "30m", "alertname": FAST, "exp_alerts": expected}
    body = rules(server(monitoring={"slo": AVAILABILITY}), runbooks="https://wiki.example/%s")
    series = answers(STEADY, STEADY)
    run_rules(body, {"interval": "1m", "input_series": series, "alert_rule_test": [alert]}, INTERVAL_SECONDS)


def test_factors_follow_from_the_share_of_the_budget() -> None:
    assert [round(burn.factor(30), 9) for burn in BURN_RATES] == [14.4, 6, 1]
    assert [round(burn.factor(7), 3) for burn in BURN_RATES] == [3.36, 1.4, 0.233]


@pytest.mark.parametrize(("objective", "count"), [(0.999, 3), (0.9, 2), (0.8, 1)])
def test_alerts_that_can_never_fire_are_left_out(objective: float, count: int) -> None:
    subject = alert_subject(server(monitoring={"slo": {"availability": {"objective": objective}}}))

    assert len(alerts(subject)) == count == sum(can_fire(objective, burn, 30) for burn in BURN_RATES)


def test_recording_rules_stay_where_others_alert() -> None:
    plan = prometheus_rule_plan(
        server(monitoring={"slo": {**AVAILABILITY, "alerts": False}, "alerts": {"enabled": False}})
    )
    assert plan is not None
    assert plan.alerts == []
    assert [group.interval for group in plan.groups] == ["30s"]
    assert {record.name.split(":")[1] for record in plan.records} == {
        "slo_requests", "slo_errors", "slo_errors_per_request", "slo_objective"
    }  # fmt: skip


def test_server_without_objectives_has_no_rules_of_them() -> None:
    subject = alert_subject(server())

    assert (indicators(subject), records(subject), alerts(subject)) == ((), [], [])
