"""The order of due probes, and the bound on those that run."""

from __future__ import annotations

from tests.unit.probing.bench import KEY
from vllm_operator.probing.probe_queue import ProbeQueue
from vllm_operator.probing.replica import ProbedReplica
from vllm_operator.probing.targets import ProbeTarget


def replica(uid: str = "a") -> ProbedReplica:
    return ProbedReplica(ProbeTarget(KEY, f"pod-{uid}", uid, "http://127.0.0.1:1", (), 10.0))


def test_earliest_due_replica_comes_first_while_there_are_places():
    queue = ProbeQueue(limit=1)
    late, early = (replica(uid) for uid in "ab")
    queue.add(late, 20)
    queue.add(early, 10)
    assert queue.pop_due(5) is None
    assert queue.pop_due(15) is early
    assert queue.pop_due(30) is None
    queue.leave(early)
    assert queue.pop_due(30) is late
    assert queue.next_due() is None


def test_long_probe_can_move_to_another_queue_even_beyond_its_limit():
    fast, slow = ProbeQueue(limit=2), ProbeQueue(limit=1)
    first, second, third = (replica(uid) for uid in "abc")
    for at, each in enumerate((first, second, third)):
        fast.add(each, at)
    assert (fast.pop_due(10), fast.pop_due(11), fast.is_full) == (first, second, True)
    assert fast.next_place(0.5) == 10.5
    assert fast.running_since(9) == []
    assert fast.running_since(10) == [first]
    assert fast.running_since(11) == [first, second]
    fast.leave(first)
    slow.enter(first, 12)
    assert (fast.is_full, slow.is_full) == (False, True)
    assert fast.pop_due(12) is third
    fast.leave(second)
    slow.enter(second, 12)  # beyond the limit: it runs already
    slow.leave(first)
    assert slow.is_full


def test_new_due_time_replaces_the_one_before():
    queue = ProbeQueue(limit=1)
    moved = replica()
    queue.add(moved, 10)
    queue.add(moved, 50)
    assert queue.next_due() == 50


def test_removed_replica_is_not_due():
    queue = ProbeQueue(limit=1)
    gone = replica()
    queue.add(gone, 10)
    queue.remove(gone)
    assert queue.next_due() is None
    queue.remove(gone)
