"""Runbooks, metric names and the rules in the documentation, against what is rendered and what vLLM exports."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.monitored_servers import rules, server
from tests.helpers.operator_metrics import documented
from tests.helpers.replica_series import Replica
from vllm_operator.desired.alerts import LOAD_ALERTS, SERVING, alert_subject, no_replica_available
from vllm_operator.desired.autoscaler import ADAPTER_KV_CACHE_METRIC, REQUESTS_METRIC, RUNNING_METRIC
from vllm_operator.desired.objectives import BURN_RATES
from vllm_operator.install.alerts import OPERATOR_ALERTS, OperatorSubject

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
ALERTS_PAGE = REPOSITORY / "docs" / "reference" / "alerts.md"
AUTOSCALE_PAGE = REPOSITORY / "docs" / "how-to" / "autoscale.md"
MONITOR_PAGE = REPOSITORY / "docs" / "how-to" / "monitor.md"
PAGES = (ALERTS_PAGE, AUTOSCALE_PAGE, MONITOR_PAGE)
RECORDING = REPOSITORY / "tests" / "data" / "vllm-0.32-metrics.txt"

ALERTS = (
    {alert(alert_subject(server())).name for alert in (*LOAD_ALERTS, no_replica_available)}
    | {burn.alert for burn in BURN_RATES}
    | {alert(OperatorSubject("vllm-operator", "ops")).name for alert in OPERATOR_ALERTS}
)
OBJECTIVES = {
    "availability": {"objective": 0.999},
    "timeToFirstToken": {"objective": 0.99, "thresholdSeconds": 1},
    "timePerOutputToken": {"objective": 0.99, "thresholdSeconds": 0.1},
    "latency": {"objective": 0.99, "thresholdSeconds": 30},
}


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """Names of the samples that a real vLLM 0.32 exports."""
    lines = RECORDING.read_text().splitlines()
    return {re.split(r"[{ ]", line, maxsplit=1)[0] for line in lines if line and not line.startswith("#")}


def names_in(expression: str) -> set[str]:
    """Metric names of an expression: all that stands before a brace."""
    return set(re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", expression))


def test_every_metric_of_a_rule_is_exported_by_vllm(exported: set[str]) -> None:
    judged = rules(server(monitoring={"slo": OBJECTIVES}))
    expressions = [rule["expr"] for group in judged["groups"] for rule in group["rules"]]
    used = {name for expression in expressions for name in names_in(expression) if not name.startswith("vllmserver:")}
    assert len(used) == 17
    assert used - exported == {"up"}


def test_every_metric_of_a_document_is_exported_by_vllm(exported: set[str]) -> None:
    text = "".join(path.read_text() for path in (*PAGES, *RUNBOOKS.glob("*.md")))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    named = set(re.findall(r"\b(?:vllm:|http_requests)[a-z0-9_]+", text))
    assert named - exported - families == {"vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds"}


def test_every_recorded_series_of_a_document_is_recorded() -> None:
    text = "".join(path.read_text() for path in (*PAGES, *RUNBOOKS.glob("*.md")))
    judged = rules(server(monitoring={"slo": OBJECTIVES}))
    recorded = {rule["record"] for group in judged["groups"] for rule in group["rules"] if "record" in rule}
    named = set(re.findall(r"vllmserver:[a-z0-9_]+:[a-z0-9_]+", text))
    assert SERVING in named
    assert named <= recorded


def test_every_metric_of_the_operator_in_a_runbook_is_documented() -> None:
    text = "".join(path.read_text() for path in RUNBOOKS.glob("*.md"))
    named = set(re.findall(r"\bvllm_operator_\w+", text))
    assert named
    assert named <= set(documented())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == ALERTS


def test_log_lines_that_runbooks_look_for_are_written() -> None:
    pages = "".join(path.read_text() for path in RUNBOOKS.glob("VLLMOperator*.md"))
    source = "".join(path.read_text() for path in (REPOSITORY / "operator").rglob("*.py"))
    wanted = re.findall(r"kubectl logs -n \$NS deploy/vllm-operator .*\| grep '([^']+)'", pages)

    assert len(wanted) == 2
    assert [text for text in wanted if text not in source] == []


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_runbook_has_the_five_sections(alert: str) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What users notice", "Look", "Usual causes", "Do", "Silence"]


def test_every_alert_stands_in_the_index_and_in_the_document() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(ALERTS)
    assert set(re.findall(r"^\| (VLLM\w+) \|", ALERTS_PAGE.read_text(), re.MULTILINE)) == ALERTS


def adapter_rules() -> list[dict[str, Any]]:
    """The rules for prometheus-adapter in the document: those of its source, then the one for `source: builtin`."""
    blocks = re.findall(r"```yaml\n(.+?)```", AUTOSCALE_PAGE.read_text(), re.DOTALL)
    first, second = (yaml.safe_load(block) for block in blocks if "metricsQuery" in block)
    return [*first["rules"]["custom"], *second["rules"]["custom"]]


def test_adapter_serves_the_metrics_that_the_autoscaler_asks_for(exported: set[str]) -> None:
    served = []
    for rule in adapter_rules():
        (series,) = names_in(rule["seriesQuery"])
        assert series in exported
        served.append(re.sub(rule["name"].get("matches", "^.*$"), rule["name"]["as"].replace("${1}", r"\1"), series))
    assert served == [RUNNING_METRIC, ADAPTER_KV_CACHE_METRIC, REQUESTS_METRIC]


@pytest.mark.parametrize(("position", "expected"), [(0, 5), (1, 0.75), (2, 12)])
def test_adapter_queries_give_one_value_a_pod(position: int, expected: float, run_rules: Callable[..., None]) -> None:
    rule = adapter_rules()[position]
    series = [
        *Replica().series(running="2x240", waiting="3x240", kv_cache="0.5x240"),
        *Replica(engine=1).series(running="3x240", waiting="4x240", kv_cache="0.75x240"),
        *Replica(job="kubernetes-pods").series(running="2x240", waiting="3x240", kv_cache="0.5x240"),
    ]
    matchers = 'namespace="llm",pod=~"mistral-5f9c6d7b8-x2k7b|mistral-5f9c6d7b8-zz2k9"'
    parts = {"<<.Series>>": next(iter(names_in(rule["seriesQuery"]))), "<<.GroupBy>>": "pod"}
    query = rule["metricsQuery"].replace("<<.LabelMatchers>>", matchers)
    for placeholder, value in parts.items():
        query = query.replace(placeholder, value)
    samples = [{"labels": '{pod="mistral-5f9c6d7b8-x2k7b"}', "value": expected}]
    run_rules(
        {}, {"input_series": series, "promql_expr_test": [{"expr": query, "eval_time": "9m", "exp_samples": samples}]}
    )
