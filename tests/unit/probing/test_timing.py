"""Due times of probes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.probing.bench import KEY
from vllm_operator.probing.health import HealthReason, ReplicaHealth
from vllm_operator.probing.targets import ProbeTarget
from vllm_operator.probing.timing import next_probe, next_slot


def target(uid: str = "a", interval: float = 10.0) -> ProbeTarget:
    return ProbeTarget(KEY, f"pod-{uid}", uid, "http://127.0.0.1:1", (), interval, api_key="s3cret")


def due(reason: HealthReason, has_served: bool, unconfirmed: bool = False, interval: float = 10.0) -> float:
    return (
        next_probe(
            target(interval=interval), ReplicaHealth(reason), has_served=has_served, unconfirmed=unconfirmed, now=1000.0
        )
        - 1000.0
    )


@given(st.text(max_size=36), st.floats(1, 3600), st.floats(0, 1e7))
def test_slot_is_half_to_one_and_a_half_intervals_away(uid: str, interval: float, now: float):
    assert interval * 0.499 <= next_slot(uid, interval, now) - now <= interval * 1.501


def test_slots_of_one_replica_are_one_interval_apart():
    first = next_slot("a", 10, 1000)
    assert abs(next_slot("a", 10, first + 0.2) - first - 10) < 1e-6


def test_many_replicas_spread_over_the_interval():
    tenths = [int(next_slot(f"uid-{index}", 10, 1000) % 10) for index in range(2000)]
    assert all(120 < tenths.count(tenth) < 280 for tenth in range(10))


def test_starting_replica_is_probed_every_second():
    assert due("ConnectionRefused", has_served=False) == 1
    assert due("Timeout", has_served=False) == 1
    assert due("NotProbed", has_served=False, interval=0.5) == 0.5


def test_serving_replica_is_probed_at_its_interval():
    assert due("Serving", has_served=True) >= 5


def test_failure_of_a_serving_replica_is_confirmed_after_a_second():
    assert due("Serving", has_served=True, unconfirmed=True) == 1


def test_restarting_container_is_probed_every_second_and_a_silent_one_is_not():
    assert due("ConnectionRefused", has_served=True) == 1
    assert due("Timeout", has_served=True) >= 5


def test_key_is_not_part_of_a_repr():
    assert "s3cret" not in repr(target())


@pytest.mark.parametrize(("seconds", "wait"), [(0, 1), (20, 1), (60, 2), (240, 8)])
def test_long_start_is_probed_more_rarely(seconds: float, wait: float):
    since = 1000.0 - seconds
    refused = ReplicaHealth("ConnectionRefused")
    due = next_probe(target(), refused, has_served=False, unconfirmed=False, now=1000.0, starting_since=since)
    assert due - 1000.0 == wait


@pytest.mark.parametrize("reason", ["ConnectionRefused", "Timeout", "HTTPError"])
def test_start_of_hours_is_probed_at_the_interval(reason: HealthReason):
    health = ReplicaHealth(reason)
    due = next_probe(target(), health, has_served=False, unconfirmed=False, now=9000.0, starting_since=0.0)
    assert due == next_slot("a", 10, 9000.0)
    short = next_probe(
        target(interval=0.5), health, has_served=False, unconfirmed=False, now=9000.0, starting_since=0.0
    )
    assert short == 9000.5
