"""When replicas are asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.probing.bench import KEY
from vllm_operator.probing.health import HealthReason, ReplicaHealth
from vllm_operator.probing.probe_queue import ProbedReplica, ProbeQueue
from vllm_operator.probing.targets import ProbeTarget
from vllm_operator.probing.timing import next_probe, next_slot


def target(uid: str = "a", interval: float = 10.0) -> ProbeTarget:
    return ProbeTarget(KEY, f"pod-{uid}", uid, "http://127.0.0.1:1", (), interval, api_key="s3cret")


def due(reason: HealthReason, served: bool, doubted: bool = False, interval: float = 10.0) -> float:
    return (
        next_probe(target(interval=interval), ReplicaHealth(reason), served=served, doubted=doubted, now=1000.0)
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


def test_starting_replica_is_asked_every_second():
    assert due("ConnectionRefused", served=False) == 1
    assert due("Timeout", served=False) == 1
    assert due("NotProbed", served=False, interval=0.5) == 0.5


def test_serving_replica_is_asked_at_its_interval():
    assert due("Serving", served=True) >= 5


def test_failure_of_a_serving_replica_is_confirmed_after_a_second():
    assert due("Serving", served=True, doubted=True) == 1


def test_restarting_container_is_asked_every_second_and_a_silent_one_is_not():
    assert due("ConnectionRefused", served=True) == 1
    assert due("Timeout", served=True) >= 5


def test_key_is_not_part_of_a_repr():
    assert "s3cret" not in repr(target())


def test_lane_gives_the_earliest_that_is_due_while_it_has_places():
    lane = ProbeQueue(limit=1)
    late, early = (ProbedReplica(target(uid), ReplicaHealth()) for uid in "ab")
    lane.add(late, 20)
    lane.add(early, 10)
    assert lane.take(5) is None
    assert lane.take(15) is early
    assert lane.take(30) is None
    lane.leave(early)
    assert lane.take(30) is late
    assert lane.next_due() is None


def test_lane_tells_who_stays_too_long_and_whoever_moves_leaves_its_place():
    quick, silent = ProbeQueue(limit=2), ProbeQueue(limit=1)
    first, second, third = (ProbedReplica(target(uid), ReplicaHealth()) for uid in "abc")
    for at, watched in enumerate((first, second, third)):
        quick.add(watched, at)
    assert (quick.take(10), quick.take(11), quick.full) == (first, second, True)
    assert quick.next_place(0.5) == 10.5
    assert quick.overstayed(9) == []
    assert quick.overstayed(10) == [first]
    assert quick.overstayed(11) == [first, second]
    silent.enter(first, 12)
    assert (first.lane, quick.full, silent.full) == (silent, False, True)
    assert quick.take(12) is third
    silent.enter(second, 12)  # beyond the limit: it runs already
    silent.leave(first)
    assert silent.full


def test_lane_forgets_a_time_that_was_set_before():
    lane = ProbeQueue(limit=1)
    moved = ProbedReplica(target(), ReplicaHealth())
    lane.add(moved, 10)
    lane.add(moved, 50)
    assert lane.next_due() == 50
