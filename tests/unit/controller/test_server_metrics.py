"""Metrics of servers: as documented, from the status, bounded, and gone with their server."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.operator_metrics import documented_of_servers
from tests.helpers.pods import ready_pod
from tests.helpers.status_inputs import REFUSED, inputs, status_of
from vllm_operator.api.names import KIND
from vllm_operator.controller.server_metrics import MAX_LABEL, PREFIX, ServerMetrics, server_sample


def body(name: str = "mistral", uid: str = "u1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "llm", "name": name, "uid": uid}, "spec": spec}


class Scene:
    """Metrics of servers that exist in `uids`."""

    def __init__(self, limit: int = 2) -> None:
        self.uids: dict[str, str] = {}
        self.metrics = ServerMetrics(
            limit, lambda kind, namespace, name: self.uids.get(name, "") if kind == KIND else ""
        )
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)
        self.status = status_of(inputs(ready_pod("a"), ready_pod("b"), health={"b": REFUSED}, wanted=3))

    def record(self, name: str = "mistral", uid: str = "u1", **spec: Any) -> None:
        self.uids[name] = uid
        self.metrics.record(body(name, uid, **spec), self.status)

    def value(self, series: str, name: str = "mistral", **labels: str) -> float | None:
        own = {"namespace": "llm", "vllmserver": name} if name else {}
        return self.registry.get_sample_value(PREFIX + series, {**own, **labels})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_documented_metrics_are_the_exported_ones_with_type_and_labels(scene: Scene) -> None:
    scene.record(autoscaling={"targetRunningRequests": 50})
    families = text_string_to_metric_families(generate_latest(scene.registry).decode())
    found = {
        family.name: (family.type, tuple(sorted({label for sample in family.samples for label in sample.labels})))
        for family in families
    }
    assert found == {name: (row.type, row.labels) for name, row in documented_of_servers().items()}


def test_values_are_those_of_the_status(scene: Scene) -> None:
    scene.record(autoscaling={"targetRunningRequests": 50})

    assert scene.value("status_phase", phase="Degraded") == 1
    assert scene.value("spec_replicas") == 3
    assert scene.value("status_healthy_replicas") == 1
    assert scene.value("status_replica_phase", phase="Serving") == 1
    assert scene.value("spec_target_running_requests") == 50
    assert scene.value("info", version="0.32.0") == 1
    ready = next(one for one in scene.status["conditions"] if one["type"] == "Ready")
    labels = {"condition": "Ready", "status": ready["status"], "reason": ready["reason"]}
    assert scene.value("status_condition", **labels) == 1
    # 2026-03-02T09:00:00Z
    assert scene.value("status_condition_last_transition_time", condition="Ready") == 1_772_442_000


def test_former_phase_has_no_series(scene: Scene) -> None:
    scene.record()
    scene.status = {**scene.status, "phase": "Failed"}
    scene.record()
    assert scene.value("status_phase", phase="Degraded") is None
    assert scene.value("status_phase", phase="Failed") == 1


def test_no_autoscaler_has_no_target(scene: Scene) -> None:
    scene.record()
    assert scene.value("spec_target_running_requests") is None


def test_series_end_with_their_server(scene: Scene) -> None:
    scene.record()
    scene.record("qwen")
    del scene.uids["mistral"]

    assert scene.value("spec_replicas") is None
    assert scene.value("spec_replicas", "qwen") == 3


def test_series_of_a_server_end_when_another_one_takes_its_name(scene: Scene) -> None:
    scene.record()
    scene.uids["mistral"] = "u2"
    assert scene.value("spec_replicas") is None


def test_servers_beyond_the_limit_are_counted_and_said_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c", "d", "c"):
        scene.record(name)

    assert scene.value("metrics_limit", "") == 2
    assert scene.value("metrics_left_out", "") == 2
    assert scene.value("spec_replicas", "b") == 3
    assert scene.value("spec_replicas", "c") is None
    (message,) = [record.getMessage() for record in caplog.records]
    assert "llm/c" in message
    assert "--server-metrics-limit, which is 2" in message


def test_server_beyond_the_limit_takes_the_place_of_a_deleted_one(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.record(name)
    del scene.uids["a"]
    scene.record("c")

    assert scene.value("spec_replicas", "c") == 3
    assert scene.value("metrics_left_out", "") == 0


def test_strange_versions_of_replicas_are_cut_and_readable(scene: Scene) -> None:
    scene.status = {**scene.status, "version": "0.32\ud800\n" + "x" * 10_000}
    scene.record()
    exported = generate_latest(scene.registry).decode()
    (line,) = [line for line in exported.splitlines() if line.startswith(f"{PREFIX}info{{")]
    assert len(line) < MAX_LABEL + 150


@pytest.mark.parametrize("status", [{}, {"ready": "1/x", "conditions": [{}, {"lastTransitionTime": "soon"}, 3]}])
def test_status_without_values_gives_none(status: dict[str, Any]) -> None:
    sample = server_sample(body(autoscaling="x"), status)
    assert set(sample.counts) == {"status_stalled_restarts"}
    assert all(one.since is None for one in sample.conditions)
