"""The HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import body, children
from vllm_operator.desired.autoscaler import KUBERNETES_DEFAULT_BEHAVIOR
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.quantity import parse_quantity

MISTRAL = body()


def autoscaler(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = children(autoscaling={"maxReplicas": 10, **fields})["HorizontalPodAutoscaler"]["spec"]
    return found


def test_it_scales_the_deployment() -> None:
    found = children("m" * 80, autoscaling={"maxReplicas": 2})

    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": found["Deployment"]["metadata"]["name"]}


def test_metric_is_the_average_of_running_and_waiting_requests() -> None:
    (metric,) = autoscaler(targetRunningRequests=30)["metrics"]

    assert metric["pods"]["metric"] == {"name": "vllm_num_requests"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "30"}


@given(st.floats(0.001, 1))
def test_cache_target_is_a_quantity_that_is_never_zero(usage: float) -> None:
    average = parse_quantity(autoscaler(targetKVCacheUsage=usage)["metrics"][1]["pods"]["target"]["averageValue"])

    assert average is not None
    assert 0 < average <= 1
    assert abs(float(average) - usage) <= 0.0005


def test_one_replica_is_the_least_by_default() -> None:
    assert (autoscaler()["minReplicas"], autoscaler()["maxReplicas"]) == (1, 10)


def test_it_grows_at_once_and_shrinks_slowly() -> None:
    behavior = autoscaler()["behavior"]

    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert all(policy["periodSeconds"] >= 120 for policy in behavior["scaleDown"]["policies"])


def test_prometheus_adapter_keeps_its_metrics() -> None:
    requests, cache = autoscaler(source="prometheus-adapter", targetKVCacheUsage=0.8)["metrics"]

    assert requests["pods"]["metric"]["name"] == "vllm_num_requests_running"
    assert cache["pods"]["metric"]["name"] == "vllm_kv_cache_usage_perc"


def test_zero_is_left_to_the_operator() -> None:
    assert autoscaler(minReplicas=0)["minReplicas"] == 1


def test_paused_autoscaler_changes_nothing() -> None:
    behavior = autoscaler(paused=True)["behavior"]

    assert {rules["selectPolicy"] for rules in behavior.values()} == {"Disabled"}


@pytest.mark.parametrize(
    ("replicas", "scaling", "expected"),
    [
        (7, {}, None),
        (0, {}, None),
        (0, {"minReplicas": 0}, 0),
        (1, {"minReplicas": 0}, None),
        (0, {"minReplicas": 0, "source": "keda", "keda": {"triggers": [{"type": "cron"}]}}, None),
        (7, {"source": "operator"}, 7),
        (50, {"source": "operator"}, 10),
        (0, {"source": "operator"}, 1),
        (0, {"source": "operator", "minReplicas": 0}, 0),
    ],
)
def test_replicas_of_the_deployment(replicas: int, scaling: dict[str, Any], expected: int | None) -> None:
    found = children(replicas=replicas, autoscaling={"maxReplicas": 10, **scaling})["Deployment"]["spec"]

    assert found.get("replicas") == expected


def test_operator_needs_no_autoscaler() -> None:
    assert "HorizontalPodAutoscaler" not in children(autoscaling={"maxReplicas": 2, "source": "operator"})


PROMETHEUS = {"serverAddress": "http://prometheus:9090"}


def scaled_object(**fields: Any) -> dict[str, Any]:
    scaling = {"maxReplicas": 10, "source": "keda", "keda": PROMETHEUS, **fields}
    body = {**MISTRAL, "spec": {**MISTRAL["spec"], "autoscaling": scaling}}
    desired = desired_state(body, frozenset({"ScaledObject"}))
    assert desired.problems == ()
    found = {manifest.kind: manifest.body for manifest in desired.manifests}
    assert "HorizontalPodAutoscaler" not in found
    scaled: dict[str, Any] = found["ScaledObject"]
    return scaled


def test_keda_scales_the_deployment_on_the_requests_in_prometheus() -> None:
    spec = scaled_object(targetRunningRequests=30)["spec"]

    (trigger,) = spec["triggers"]
    assert spec["scaleTargetRef"]["kind"] == "Deployment"
    assert trigger["metricType"] == "AverageValue"
    assert trigger["metadata"]["threshold"] == "30"
    assert "vllm:num_requests_running" in trigger["metadata"]["query"]
    assert "vllm:num_requests_waiting" in trigger["metadata"]["query"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert "fallback" not in spec


def test_keda_may_scale_to_zero() -> None:
    spec = scaled_object(minReplicas=0, idleSeconds=60)["spec"]

    assert (spec["minReplicaCount"], spec["cooldownPeriod"]) == (0, 60)
    assert spec["triggers"][0]["metadata"]["query"].endswith("or vector(0)")


def test_keda_takes_cache_authentication_fallback_and_own_triggers() -> None:
    own = {"type": "cron", "metadata": {"desiredReplicas": "2"}}
    keda = {**PROMETHEUS, "authentication": "prom", "fallback": {"replicas": 3}, "triggers": [own]}
    spec = scaled_object(targetKVCacheUsage=0.8, keda=keda)["spec"]

    assert [trigger["type"] for trigger in spec["triggers"]] == ["prometheus", "prometheus", "cron"]
    assert spec["triggers"][1]["metricType"] == "Value"
    assert spec["triggers"][0]["authenticationRef"] == {"name": "prom"}
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 3}


def test_keda_is_paused_by_its_annotation() -> None:
    assert scaled_object(paused=True)["metadata"]["annotations"]["autoscaling.keda.sh/paused"] == "true"


def test_without_keda_there_is_no_scaled_object() -> None:
    scaling = {"maxReplicas": 2, "source": "keda", "keda": PROMETHEUS}
    desired = desired_state({**MISTRAL, "spec": {**MISTRAL["spec"], "autoscaling": scaling}}, frozenset())

    assert "ScaledObject" not in {manifest.kind for manifest in desired.manifests}
    assert desired.server.missing_scalers == ("ScaledObject",)


@pytest.mark.parametrize("behavior", [{"scaleUp": {"selectPolicy": "Disabled"}}, {"scaleDown": {"tolerance": "0.05"}}])
def test_users_behavior_replaces_the_default(behavior: dict[str, Any]) -> None:
    rendered = autoscaler(behavior=behavior)["behavior"]

    for direction, rules in behavior.items():
        assert rendered[direction] == {**KUBERNETES_DEFAULT_BEHAVIOR[direction], **rules}


@pytest.mark.parametrize("behavior", [{}, {"scaleUp": {}}, {"scaleUp": {}, "scaleDown": {}}])
def test_empty_behavior_is_kubernetes_own_written_out(behavior: dict[str, Any]) -> None:
    assert autoscaler(behavior=behavior)["behavior"] == KUBERNETES_DEFAULT_BEHAVIOR
