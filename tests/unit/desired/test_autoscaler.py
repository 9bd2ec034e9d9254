"""The HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import children
from vllm_operator.desired.autoscaler import KUBERNETES_DEFAULT_BEHAVIOR
from vllm_operator.kube.quantity import parse_quantity


def autoscaler(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = children(autoscaling={"maxReplicas": 10, **fields})["HorizontalPodAutoscaler"]["spec"]
    return found


def test_it_scales_the_deployment() -> None:
    found = children("m" * 80, autoscaling={"maxReplicas": 2})

    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": found["Deployment"]["metadata"]["name"]}


def test_metric_is_the_average_of_running_requests() -> None:
    (metric,) = autoscaler(targetRunningRequests=30)["metrics"]

    assert metric["pods"]["metric"] == {"name": "vllm_num_requests_running"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "30"}


@given(st.floats(0.001, 1))
def test_cache_target_is_a_quantity_that_is_never_zero(usage: float) -> None:
    average = parse_quantity(autoscaler(targetKVCacheUsage=usage)["metrics"][1]["pods"]["target"]["averageValue"])

    assert average is not None
    assert 0 < average <= 1
    assert abs(float(average) - usage) <= 0.0005


def test_one_replica_is_the_least_by_default() -> None:
    assert (autoscaler()["minReplicas"], autoscaler()["maxReplicas"]) == (1, 10)


def test_it_grows_within_a_load_and_shrinks_slowly() -> None:
    behavior = autoscaler()["behavior"]

    assert behavior["scaleDown"]["stabilizationWindowSeconds"] > behavior["scaleUp"]["stabilizationWindowSeconds"]
    assert all(policy["periodSeconds"] >= 120 for rules in behavior.values() for policy in rules["policies"])


@pytest.mark.parametrize("behavior", [{"scaleUp": {"selectPolicy": "Disabled"}}, {"scaleDown": {"tolerance": "0.05"}}])
def test_users_behavior_replaces_the_default(behavior: dict[str, Any]) -> None:
    rendered = autoscaler(behavior=behavior)["behavior"]

    for direction, rules in behavior.items():
        assert rendered[direction] == {**KUBERNETES_DEFAULT_BEHAVIOR[direction], **rules}


@pytest.mark.parametrize("behavior", [{}, {"scaleUp": {}}, {"scaleUp": {}, "scaleDown": {}}])
def test_empty_behavior_is_kubernetes_own_written_out(behavior: dict[str, Any]) -> None:
    assert autoscaler(behavior=behavior)["behavior"] == KUBERNETES_DEFAULT_BEHAVIOR
