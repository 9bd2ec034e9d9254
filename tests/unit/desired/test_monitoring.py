"""The way of scraping and the objects that exist, for each combination of spec and cluster."""

import re

import pytest

from tests.helpers.monitored_servers import server
from vllm_operator.desired.monitoring import (
    ScrapeMethod,
    missing_crds,
    pod_annotations,
    pod_monitor_plan,
    prometheus_rule_plan,
    scrape_method,
)
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.errors import InvalidSpecError
from vllm_operator.kube.kinds import MONITORING_KINDS

NO_KINDS: frozenset[str] = frozenset()
ANNOTATIONS = {"prometheus.io/scrape": "true", "prometheus.io/port": "8000", "prometheus.io/path": "/metrics"}


@pytest.mark.parametrize(
    ("wanted", "kinds", "expected"),
    [
        ("auto", MONITORING_KINDS, ScrapeMethod.POD_MONITOR),
        ("auto", NO_KINDS, ScrapeMethod.ANNOTATIONS),
        ("podMonitor", MONITORING_KINDS, ScrapeMethod.POD_MONITOR),
        ("podMonitor", NO_KINDS, ScrapeMethod.NONE),
        ("annotations", MONITORING_KINDS, ScrapeMethod.ANNOTATIONS),
        ("none", MONITORING_KINDS, ScrapeMethod.NONE),
    ],
)
def test_scrape_follows_the_spec_and_the_installed_crds(
    wanted: str, kinds: frozenset[str], expected: ScrapeMethod
) -> None:
    asked = server(monitoring={"scrape": wanted})
    assert scrape_method(asked, kinds) is expected
    assert (pod_monitor_plan(asked, kinds) is not None) == (expected is ScrapeMethod.POD_MONITOR)


@pytest.mark.parametrize("wanted", ["auto", "annotations", "podMonitor", "none"])
def test_pod_annotations_do_not_depend_on_the_cluster(wanted: str) -> None:
    expected = ANNOTATIONS if wanted in {"auto", "annotations"} else {}
    assert pod_annotations(server(monitoring={"scrape": wanted})) == expected


def test_missing_crds_names_what_the_spec_asks_for() -> None:
    assert missing_crds(server(), NO_KINDS) == ("PrometheusRule",)
    assert missing_crds(server(monitoring={"scrape": "podMonitor"}), NO_KINDS) == ("PodMonitor", "PrometheusRule")
    assert missing_crds(server(monitoring={"alerts": {"enabled": False}}), NO_KINDS) == ()
    assert missing_crds(server(monitoring={"scrape": "podMonitor"}), MONITORING_KINDS) == ()


def test_no_rule_without_alerts_or_without_its_crd() -> None:
    assert prometheus_rule_plan(server(monitoring={"alerts": {"enabled": False}})) is None
    assert prometheus_rule_plan(server(), frozenset({"PodMonitor"})) is None


def test_no_alert_for_absence_when_a_missing_crd_prevents_scraping() -> None:
    plan = prometheus_rule_plan(server(monitoring={"scrape": "podMonitor"}), frozenset({"PrometheusRule"}))
    assert plan is not None
    assert plan.records == []
    assert "VLLMNoReplicaAvailable" not in {alert.name for alert in plan.alerts}


@pytest.mark.parametrize(
    ("flags", "watched"),
    [(["--disable-log-stats"], False), (["--disable-log-stats", "--no-disable-log-stats"], True), (["--seed=1"], True)],
)
def test_no_alert_for_absence_when_vllm_exports_nothing(flags: list[str], watched: bool) -> None:
    plan = prometheus_rule_plan(server(engine={"extraArgs": flags}))
    assert plan is not None
    assert bool(plan.records) is watched


def test_autoscaled_servers_are_expected_to_have_replicas() -> None:
    plan = prometheus_rule_plan(server(replicas=0, autoscaling={"minReplicas": 1, "maxReplicas": 2}))
    assert plan is not None
    assert plan.alerts[0].name == "VLLMNoReplicaAvailable"


def test_labels_of_the_spec_reach_every_alert_and_may_set_the_severity() -> None:
    plan = prometheus_rule_plan(server(monitoring={"alerts": {"labels": {"team": "ml", "severity": "page"}}}))
    assert plan is not None
    identity = {"namespace": "llm", "vllmserver": "mistral"}
    assert all(alert.labels == {"team": "ml", "severity": "page", **identity} for alert in plan.alerts)


@pytest.mark.parametrize(
    "key", ["pod", "namespace", "alertname", "__name__", "app.kubernetes.io/team", "1st", "a\nb", ""]
)
def test_labels_that_prometheus_refuses_are_refused_with_their_name(key: str) -> None:
    with pytest.raises(InvalidSpecError, match=re.escape(repr(key))):
        prometheus_rule_plan(server(monitoring={"alerts": {"labels": {key: "x"}}}))


def test_alerts_link_to_no_runbook_without_a_url() -> None:
    plan = prometheus_rule_plan(server())
    assert plan is not None
    assert {name for alert in plan.alerts for name in alert.annotations} == {"summary", "description"}


def test_pod_monitor_selects_the_pods_of_this_server_only() -> None:
    plan = pod_monitor_plan(server())
    assert plan is not None
    body = render_template("monitoring/podmonitor", plan)
    assert body["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "mistral"
    endpoint = body["spec"]["podMetricsEndpoints"][0]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("http", "/metrics", "15s")
