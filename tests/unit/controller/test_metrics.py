"""The operator's own metrics: few labels, and all that is exported is documented."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.operator_metrics import documented
from vllm_operator.controller.metrics import Metrics, Snapshot


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of which every series has a sample."""
    filled = Metrics()
    filled.show(lambda: Snapshot(queue_depth=3, queue_age=1.5, phases={"Serving": 2}, cached={"Pod": 4}))
    filled.passed("success", 0.01)
    filled.waited(0.2)
    filled.called("patch", "deployments", 201, 0.01)
    filled.called("get", "leases", None, 20.0)
    filled.saw("Pod")
    filled.probed("Serving", 0.1)
    filled.completed("Answered")
    filled.healed()
    return filled


def exported(metrics: Metrics) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> type and labels, as in the document."""
    text = generate_latest(metrics.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, tuple(sorted(labels)))
    return found


def test_documented_metrics_are_the_exported_ones_with_type_and_labels(metrics: Metrics) -> None:
    assert {name: (row.type, row.labels) for name, row in documented().items()} == exported(metrics)


def test_no_series_is_about_a_single_server(metrics: Metrics) -> None:
    labels = {label for _, names in exported(metrics).values() for label in names}
    assert labels.isdisjoint({"namespace", "name", "server", "vllmserver", "pod", "uid"})


def test_call_without_answer_has_no_code(metrics: Metrics) -> None:
    labels = {"verb": "get", "resource": "leases", "code": "none"}
    assert metrics.registry.get_sample_value("vllm_operator_api_requests_total", labels) == 1


def test_gauges_are_read_at_the_scrape() -> None:
    metrics, depth = Metrics(), [1]
    metrics.show(lambda: Snapshot(queue_depth=depth[0], leader=False))
    assert metrics.registry.get_sample_value("vllm_operator_queue_depth") == 1
    depth[0] = 5
    assert metrics.registry.get_sample_value("vllm_operator_queue_depth") == 5
    assert metrics.registry.get_sample_value("vllm_operator_leader") == 0
