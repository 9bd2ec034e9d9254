from __future__ import annotations

from tests.helpers.check_subjects import subject
from vllm_operator.cli.checks import monitoring

SILENT = {"engine": {"extraArgs": ["--disable-log-stats"]}}
UNREAD = {"monitoring": {"scrape": "none"}}


def test_scraping() -> None:
    assert "a PodMonitor" in monitoring.scraping(subject()).evidence
    assert "annotations" in monitoring.scraping(subject({}, objects={})).evidence
    assert monitoring.scraping(subject(UNREAD)).level == "fail"
    status = {"conditions": [{"type": "MonitoringActive", "status": "False", "message": "CRD missing"}]}
    assert monitoring.scraping(subject({}, status=status)).level == "warn"


def test_percentiles_and_queue_need_metrics() -> None:
    judges = [item.judge for item in monitoring.ITEMS if item.identity in {"latency", "queue"}]
    assert len(judges) == 2
    for judge in judges:
        assert [judge(subject(spec)).level for spec in ({}, SILENT, UNREAD)] == ["pass", "fail", "fail"]


def test_gpu_is_not_seen_by_vllm() -> None:
    assert monitoring.gpu(subject()).level == "unknown"
    assert monitoring.gpu(subject({"accelerator": {"resourceName": ""}})).level == "n/a"


def test_alerts() -> None:
    assert "p99 above 30 s" in monitoring.alerts(subject()).evidence
    assert monitoring.alerts(subject({"monitoring": {"alerts": {"enabled": False}}})).level == "warn"
    assert monitoring.alerts(subject({}, api_kinds=frozenset())).level == "warn"
    assert monitoring.alerts(subject({}, objects={}, api_kinds=frozenset({"PrometheusRule"}))).level == "warn"
