"""Every alert fires after its cause began and resolves after it ended, by the real promtool and as documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.alert_courses import BEFORE, COURSES, OPERATOR_NAMESPACE, Course
from tests.helpers.monitored_servers import rules, server
from tests.helpers.paths import REPOSITORY
from vllm_operator.desired.alerts import LOAD_ALERTS, alert_subject, no_replica_available
from vllm_operator.desired.objectives import FAST, SLOW
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.install.alerts import OPERATOR_ALERTS, OperatorSubject, operator_rule_plan

OPERATOR = OperatorSubject("vllm-operator", OPERATOR_NAMESPACE)


def rules_for(course: Course) -> dict[str, Any]:
    """Return the rule file that holds the alert of a course."""
    if course.alert.startswith("VLLMOperator"):
        plan = operator_rule_plan(OPERATOR)
        return {"groups": render_template("monitoring/prometheusrule", plan)["spec"]["groups"]}
    return rules(server(**course.spec))


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course.name)
def test_alert_fires_and_resolves(course: Course, run_rules: Callable[..., None]) -> None:
    window = f',window="{course.window}"' if course.window else ""
    expr = f'count by (alertname) (ALERTS{{alertname="{course.alert}",alertstate="firing"{window}}})'
    fires = round((BEFORE + course.fires) * 60)
    resolves = round((BEFORE + course.lasts + course.resolves) * 60)

    def expectation(second: int, does_fire: bool) -> dict[str, Any]:
        samples = [{"labels": f'{{alertname="{course.alert}"}}', "value": 1}] if does_fire else []
        return {"expr": expr, "eval_time": f"{second}s", "exp_samples": samples}

    expected = [
        expectation(fires - course.step, False), expectation(fires, True),
        expectation(resolves - course.step, True), expectation(resolves, False),
    ]  # fmt: skip
    test = {"interval": f"{course.step}s", "input_series": course.series(course), "promql_expr_test": expected}
    run_rules(rules_for(course), test, course.step)


def test_every_alert_has_a_course() -> None:
    of_servers = {alert(alert_subject(server())).name for alert in (*LOAD_ALERTS, no_replica_available)}
    of_operators = {alert(OPERATOR).name for alert in OPERATOR_ALERTS}

    assert {course.alert for course in COURSES} == of_servers | of_operators | {FAST, SLOW}


def test_documentation_has_each_course() -> None:
    text = (REPOSITORY / "docs" / "reference" / "alerts.md").read_text()

    missing = [row for row in map(documented, COURSES) if row not in text]
    assert missing == []


def documented(course: Course) -> str:
    """Return the row of a course in the table of the documentation."""
    return f"| {course.name} | {course.cause} | {minutes(course.fires)} | {minutes(course.resolves)} |"


def minutes(value: float) -> str:
    """Return minutes with their unit; a moment of less than an evaluation has no number."""
    return f"{value:g} min" if value else "the next evaluation"
