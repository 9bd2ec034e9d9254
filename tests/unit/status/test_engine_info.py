"""Version, models and capacity, as the serving engines report them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.helpers.pods import (
    deleted_pod,
    ready_pod,
    scheduling_pod,
)
from tests.helpers.status_inputs import NOW, SERVING, inputs, status_of
from vllm_operator.probing.health import ReplicaHealth


def test_two_versions_are_in_order_during_a_rollout():
    newer = replace(SERVING, version="0.32.0")
    older = replace(SERVING, version="0.9.2")
    status = status_of(inputs(ready_pod("a"), ready_pod("b"), health={"a": newer, "b": older}))
    assert status["version"] == "0.9.2, 0.32.0"


def test_capacity_is_the_smallest_of_the_serving_replicas():
    small = replace(SERVING, kv_cache_tokens=1000, concurrency=None)
    pods = [ready_pod("a"), ready_pod("b"), deleted_pod("c")]
    healths = {"a": SERVING, "b": small, "c": replace(SERVING, kv_cache_tokens=1)}
    capacity = status_of(inputs(*pods, wanted=2, health=healths))["capacity"]
    assert capacity == {"kvCacheTokens": 1000, "maxModelLen": 8192, "concurrency": 50}


def test_restarted_operator_keeps_the_engine_info_until_the_first_probes():
    pods = [ready_pod("a"), ready_pod("b"), scheduling_pod("c")]
    known = status_of(inputs(*pods, health={"b": replace(SERVING, version="0.31.0")}))
    restarted = inputs(
        *pods, health=dict.fromkeys("abc", ReplicaHealth()), previous=known, now=NOW + timedelta(hours=1)
    )
    assert status_of(restarted) == known
