"""The operator's own metrics: few labels, and every exported metric is documented."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.operator_metrics import documented
from vllm_operator.controller.metrics import GaugeValues, Metrics


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics with a sample in every series."""
    filled = Metrics()
    filled.register_gauges(lambda: GaugeValues(queue_depth=3, queue_age=1.5, phases={"Serving": 2}, cached={"Pod": 4}))
    filled.count_reconcile("success", 0.01)
    filled.count_queue_wait(0.2)
    filled.count_api_request("patch", "deployments", 201, 0.01)
    filled.count_api_request("get", "leases", None, 20.0)
    filled.count_watch_event("Pod")
    filled.count_probe("Serving", 0.1)
    filled.count_completion("Answered")
    filled.count_stalled_restart()
    return filled


def exported(metrics: Metrics) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return name -> type and labels, as in the document."""
    text = generate_latest(metrics.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, tuple(sorted(labels)))
    return found


def test_documented_metrics_are_the_exported_ones_with_type_and_labels(metrics: Metrics) -> None:
    assert {name: (row.type, row.labels) for name, row in documented().items()} == exported(metrics)


def test_no_label_names_a_server(metrics: Metrics) -> None:
    labels = {label for _, names in exported(metrics).values() for label in names}
    assert labels.isdisjoint({"namespace", "name", "server", "vllmserver", "pod", "uid"})


def test_call_without_an_answer_has_code_none(metrics: Metrics) -> None:
    labels = {"verb": "get", "resource": "leases", "code": "none"}
    assert metrics.registry.get_sample_value("vllm_operator_api_requests_total", labels) == 1


def test_gauges_are_read_at_the_scrape() -> None:
    metrics, depth = Metrics(), [1]
    metrics.register_gauges(lambda: GaugeValues(queue_depth=depth[0], leader=False))
    assert metrics.registry.get_sample_value("vllm_operator_queue_depth") == 1
    depth[0] = 5
    assert metrics.registry.get_sample_value("vllm_operator_queue_depth") == 5
    assert metrics.registry.get_sample_value("vllm_operator_leader") == 0
