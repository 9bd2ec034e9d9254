"""Values that follow from several fields of a spec."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.spec import cache_is_shared, possible_replicas, surges


@pytest.mark.parametrize(
    ("fields", "replicas"),
    [({}, 1), ({"replicas": 3}, 3), ({"replicas": 3, "autoscaling": {"maxReplicas": 5}}, 5), ({"replicas": 0}, 0)],
)
def test_autoscaler_raises_the_possible_replicas(fields: dict[str, Any], replicas: int) -> None:
    assert possible_replicas(spec(**fields)) == replicas


@pytest.mark.parametrize(("surge", "expected"), [(0, False), ("0%", False), (1, True), ("25%", True)])
def test_surge_is_any_number_above_zero(surge: object, expected: bool) -> None:
    assert surges(spec(rollout={"maxSurge": surge})) == expected


@pytest.mark.parametrize(
    ("fields", "shared"),
    [
        ({}, False),
        ({"replicas": 2}, True),
        ({"rollout": {"maxSurge": 1}}, True),
        ({"replicas": 0}, False),
        ({"autoscaling": {"maxReplicas": 2}}, True),
    ],
)
def test_cache_is_shared_when_two_pods_may_run_at_once(fields: dict[str, Any], shared: bool) -> None:
    assert cache_is_shared(spec(**fields)) == shared
