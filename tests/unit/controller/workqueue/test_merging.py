"""One reconcile of a key at a time, many keys in parallel, bursts merged."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.workqueue.scene import FakeReconciler, Run, add_and_wait, run_queue
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import MANY_PODS, MAX_MERGE_SECONDS, MERGE_SECONDS, WorkQueue, merge_delay


def test_added_key_is_reconciled_once(run: Run) -> None:
    reconciler = FakeReconciler()
    run(run_queue(reconciler, add_and_wait(100, "a")))

    assert reconciler.times() == [0]


def test_burst_is_one_reconcile(run: Run) -> None:
    reconciler = FakeReconciler()
    run(run_queue(reconciler, add_and_wait(100, *["a"] * 50)))

    assert reconciler.times() == [0]


def test_keys_added_during_a_reconcile_are_merged_into_one_more(run: Run) -> None:
    reconciler = FakeReconciler()

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        for _ in range(20):
            queue.add("a")
        await asyncio.sleep(100)

    run(run_queue(reconciler, script))

    assert reconciler.times() == pytest.approx([0, 1 + MERGE_SECONDS])


def test_at_most_as_many_keys_as_workers_are_reconciled_at_once(run: Run) -> None:
    reconciler = FakeReconciler()
    run(run_queue(reconciler, add_and_wait(100, *"abcdefg"), workers=3))

    assert reconciler.together == 3
    assert sorted(key for _, key in reconciler.starts) == list("abcdefg")


def test_keys_wait_in_the_order_in_which_they_were_added(run: Run) -> None:
    reconciler = FakeReconciler()
    run(run_queue(reconciler, add_and_wait(100, *"cab"), workers=1))

    assert [key for _, key in reconciler.starts] == ["c", "a", "b"]


def test_depth_is_the_number_of_keys_that_wait_for_a_worker(run: Run) -> None:
    depths: list[int] = []

    async def script(queue: WorkQueue[str]) -> None:
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.5)
        depths.append(queue.depth)
        await asyncio.sleep(10)
        depths.append(queue.depth)

    run(run_queue(FakeReconciler(), script, workers=1))

    assert depths == [2, 0]


def test_longest_reconcile_is_the_age_of_the_oldest_one_under_way(run: Run) -> None:
    ages: list[float] = []

    async def script(queue: WorkQueue[str]) -> None:
        ages.append(queue.longest_reconcile)
        queue.add("a")
        await asyncio.sleep(2)
        queue.add("b")
        await asyncio.sleep(1)
        ages.append(queue.longest_reconcile)
        await asyncio.sleep(8)
        ages.append(queue.longest_reconcile)
        await asyncio.sleep(20)
        ages.append(queue.longest_reconcile)

    run(run_queue(FakeReconciler(takes=10), script))

    assert ages == [0.0, 3.0, 9.0, 0.0]


def test_cancelling_the_queue_cancels_reconciles_under_way(run: Run) -> None:
    ended: list[str] = []

    class Slow(FakeReconciler):
        async def __call__(self, key: str) -> Requeue:
            try:
                return await super().__call__(key)
            except asyncio.CancelledError:
                ended.append(key)
                raise

    run(run_queue(Slow(takes=1000), add_and_wait(1, "a", "b")))

    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize(
    ("pods", "settling", "delay"),
    [
        (0, False, 0.0),
        (MANY_PODS, False, 0.0),
        (MANY_PODS, True, MERGE_SECONDS),
        (1000, False, 1.0),
        (1000, True, 1.0),
        (10_000, False, MAX_MERGE_SECONDS),
    ],
)
def test_watch_events_of_a_server_with_many_pods_are_merged_for_longer(pods: int, settling: bool, delay: float) -> None:
    assert merge_delay(pods, settling) == delay
