"""Each alert about the operator fires when it should and stays silent when it should, by the real promtool."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.helpers.operator_metrics import documented
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.install.alerts import OPERATOR_ALERTS, OperatorSubject, operator_rule_plan

NAMESPACE = "vllm-operator-system"
OPERATOR = OperatorSubject("vllm-operator", NAMESPACE)

HEALTHY = {
    "build_info": "1x240",
    "leader": "1x240",
    "servers_failing": "0x240",
    "queue_age_seconds": "0x240",
    'api_requests_total{code="200"}': "0+30x240",
    'api_requests_total{code="409"}': "0+9x240",
}
STANDBY = {**HEALTHY, "leader": "0x240", "queue_age_seconds": "0+15x240"}
"""A standby: its work queue waits for the Lease."""


def process(namespace: str = NAMESPACE, pod: str = "operator-a", job: str = "podmonitor", **_: str) -> dict[str, str]:
    """Return the labels of the series of a process."""
    return {"namespace": namespace, "pod": pod, "job": job}


def series(values: dict[str, str], labels: dict[str, str]) -> list[dict[str, str]]:
    """Return input for promtool: one hour of samples, one each 15 s."""
    found = []
    for name, samples in values.items():
        bare, _, own = name.rstrip("}").partition("{")
        matchers = ",".join(filter(None, (own, *(f'{label}="{value}"' for label, value in labels.items()))))
        found.append({"series": f"vllm_operator_{bare}{{{matchers}}}", "values": samples})
    return found


def story(namespace: str = NAMESPACE, **changed: str) -> list[dict[str, str]]:
    """Return the series of a healthy process, with these changes."""
    return series({**HEALTHY, **changed}, process(namespace))


@dataclass(frozen=True)
class Case:
    """A course of events, and the alerts that fire after 30 minutes."""

    story: str
    series: list[dict[str, str]]
    fires: tuple[str, ...] = ()


REFUSED = {'api_requests_total{code="200"}': "10x240", 'api_requests_total{code="401"}': "0+5x240"}
CASES = [
    Case("all is well", story()),
    Case("a standby and the leader", story() + series(STANDBY, process(pod="operator-b"))),
    Case("two jobs scrape it", story() + series(HEALTHY, process(job="annotations"))),
    Case("nobody scrapes it", [], ("VLLMOperatorDown",)),
    Case("another namespace has one", story("elsewhere"), ("VLLMOperatorDown",)),
    Case("it ended 10 minutes ago", series(dict.fromkeys(HEALTHY, "1x80 _x160"), process()), ("VLLMOperatorDown",)),
    Case(
        "it ended 2 minutes ago",
        series(dict.fromkeys(HEALTHY, "1x112 _x128") | {"servers_failing": "0x112"}, process()),
    ),
    Case("only standbys", series(STANDBY, process()), ("VLLMOperatorNoLeader",)),
    Case("no leader for 2 minutes", story(leader="1x112 0x128")),
    Case("a pass fails all the time", story(servers_failing="1x240"), ("VLLMOperatorPassesFailing",)),
    Case("passes failed until a moment ago", story(servers_failing="1x118 0x122")),
    Case("a server waits", story(queue_age_seconds="0+15x240"), ("VLLMOperatorQueueStuck",)),
    Case("servers wait for four minutes", story(queue_age_seconds="240x240")),
    Case("the API server is gone", story(**{'api_requests_total{code="none"}': "0+9x240"}), ("VLLMOperatorApiErrors",)),
    Case("one call of fifty fails", story(**{'api_requests_total{code="503"}': "0+0.8x240"})),
    Case("its token is refused", story(**REFUSED), ("VLLMOperatorCredentialsRefused",)),
    Case("its token was renewed once", story(**{'api_requests_total{code="401"}': "0x60 1x180"})),
]


def rules(runbooks: str = "") -> dict[str, Any]:
    """Return the rule file, as the template renders it."""
    plan = operator_rule_plan(OperatorSubject("vllm-operator", NAMESPACE, runbooks))
    return {"groups": render_template("monitoring/prometheusrule", plan)["spec"]["groups"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.story)
def test_alert(case: Case, run_rules: Callable[..., None]) -> None:
    samples = [{"labels": f'{{alertname="{name}",namespace="{NAMESPACE}"}}', "value": 1} for name in case.fires]
    query = 'count by (alertname, namespace) (ALERTS{alertstate="firing"})'
    expectation = {"expr": query, "eval_time": "30m", "exp_samples": samples}
    run_rules(rules(), {"input_series": case.series, "promql_expr_test": [expectation]})


def test_every_alert_fires_in_a_story() -> None:
    assert {name for case in CASES for name in case.fires} == {alert(OPERATOR).name for alert in OPERATOR_ALERTS}


def test_every_metric_of_an_alert_is_exported() -> None:
    used = {name for alert in OPERATOR_ALERTS for name in re.findall(r"vllm_operator_\w+", alert(OPERATOR).expr)}
    assert len(used) == 5
    assert used <= set(documented())


def test_texts_have_value_and_runbook(run_rules: Callable[..., None]) -> None:
    expected = {
        "exp_labels": {"severity": "warning", "namespace": NAMESPACE},
        "exp_annotations": {
            "summary": f"vllm-operator in {NAMESPACE}: servers wait for their turn",
            "description": "A VLLMServer has waited for 10m 0s to be looked at.",
            "runbook_url": "https://wiki.example/VLLMOperatorQueueStuck",
        },
    }
    alert = {"eval_time": "30m", "alertname": "VLLMOperatorQueueStuck", "exp_alerts": [expected]}
    waiting = story(queue_age_seconds="600x240")
    run_rules(rules("https://wiki.example/%s"), {"input_series": waiting, "alert_rule_test": [alert]})
