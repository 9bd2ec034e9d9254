"""The arithmetic of the HorizontalPodAutoscaler, and a step of load with slow starts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.controller.replica_calculator import ScalingHistory, replicas_for
from vllm_operator.desired.autoscaler import DEFAULT_BEHAVIOR, PAUSED_BEHAVIOR


@pytest.mark.parametrize(
    ("loads", "missing", "expected"),
    [
        ([50], 0, 1),
        ([54], 0, 1),  # within the tolerance
        ([120], 0, 3),
        ([120], 2, 3),  # those that load are not added again
        ([120], 1, 3),
        ([240], 2, 5),
        ([10, 10], 0, 1),
        ([0, 0, 0], 0, 0),
        ([10, 10], 1, 2),  # one that does not answer may be full
        ([60], 1, 2),  # with the one that loads there is enough
    ],
)
def test_replicas_for_a_load(loads: list[float], missing: int, expected: int) -> None:
    assert replicas_for(loads, missing, 50) == expected


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=8), st.integers(0, 8))
def test_a_total_load_never_wants_more_than_it_fills(loads: list[float], missing: int) -> None:
    wanted = replicas_for(loads, missing, 50)

    assert wanted <= max(math.ceil(sum(loads) / 50), len(loads) + missing)


def test_scale_up_is_limited_by_the_policies() -> None:
    history = ScalingHistory()

    assert history.limit(1, 20, DEFAULT_BEHAVIOR, 0) == 5
    history.record(4, 0)
    assert history.limit(5, 20, DEFAULT_BEHAVIOR, 15) == 5
    assert history.limit(5, 20, DEFAULT_BEHAVIOR, 61) == 10


def test_scale_down_waits_and_takes_one_at_a_time() -> None:
    history = ScalingHistory()
    assert history.limit(5, 5, DEFAULT_BEHAVIOR, 0) == 5

    assert history.limit(5, 1, DEFAULT_BEHAVIOR, 599) == 5
    assert history.limit(5, 1, DEFAULT_BEHAVIOR, 601) == 4
    history.record(-1, 601)
    assert history.limit(4, 1, DEFAULT_BEHAVIOR, 610) == 4
    assert history.limit(4, 1, DEFAULT_BEHAVIOR, 722) == 3


def test_paused_behavior_changes_nothing() -> None:
    assert ScalingHistory().limit(3, 9, PAUSED_BEHAVIOR, 0) == 3
    assert ScalingHistory().limit(3, 1, PAUSED_BEHAVIOR, 0) == 3


@pytest.mark.parametrize(("select", "up", "down"), [("Max", 10, 2), ("Min", 6, 4)])
def test_policy_is_chosen_as_the_behavior_says(select: str, up: int, down: int) -> None:
    policies = [
        {"type": "Pods", "value": 1, "periodSeconds": 60},
        {"type": "Percent", "value": 100 if select == "Max" else 20, "periodSeconds": 60},
    ]
    policies_down = [
        {"type": "Pods", "value": 1, "periodSeconds": 60},
        {"type": "Pods", "value": 3, "periodSeconds": 60},
    ]
    rules: dict[str, Any] = {
        "scaleUp": {"selectPolicy": select, "policies": policies},
        "scaleDown": {"selectPolicy": select, "policies": policies_down, "stabilizationWindowSeconds": 0},
    }

    assert ScalingHistory().limit(5, 50, rules, 0) == up
    assert ScalingHistory().limit(5, 0, rules, 0) == down


@pytest.mark.parametrize("start_seconds", [0, 40, 200, 600])
@pytest.mark.parametrize("clients", [60, 240, 800])
def test_a_step_of_load_ends_at_the_right_size(clients: int, start_seconds: int) -> None:
    """Clients that each have one request in flight; replicas that load have none."""
    ready_at, most, history = [0.0], 1, ScalingHistory()
    for now in range(0, 1800, 15):
        serving = sum(at <= now for at in ready_at)
        loads = [clients / serving] * serving
        current = len(ready_at)
        wanted = replicas_for(loads, current - serving, 50)
        allowed = history.limit(current, wanted, DEFAULT_BEHAVIOR, now)
        history.record(allowed - current, now)
        ready_at += [now + start_seconds] * (allowed - current)
        del ready_at[allowed:]
        most = max(most, len(ready_at))

    right = math.ceil(clients / 50)
    assert abs(len(ready_at) - right) <= 1
    assert most <= right + 1
