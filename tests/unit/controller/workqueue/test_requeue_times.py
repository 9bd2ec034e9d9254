"""The result of a reconcile and `add_after` decide when a key comes again."""

from __future__ import annotations

import asyncio

from tests.unit.controller.workqueue.scene import FakeReconciler, Run, add_and_wait, run_queue
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import WorkQueue


def test_key_is_requeued_after_the_delay_of_its_result(run: Run) -> None:
    reconciler = FakeReconciler(Requeue.after(5), takes=0)
    run(run_queue(reconciler, add_and_wait(21, "a")))

    assert reconciler.times() == [0, 5, 10, 15, 20]


def test_key_that_is_added_before_its_delay_is_reconciled_at_once(run: Run) -> None:
    reconciler = FakeReconciler(Requeue.after(50), takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(10)
        queue.add("a")
        await asyncio.sleep(55)

    run(run_queue(reconciler, script))

    assert reconciler.times() == [0, 10, 60], "the delay of the first result no longer counts"


def test_earliest_of_several_delays_counts(run: Run) -> None:
    reconciler = FakeReconciler(takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        for seconds in (30, 10, 20):
            queue.add_after("a", seconds)
        await asyncio.sleep(100)

    run(run_queue(reconciler, script))

    assert reconciler.times() == [10]


def test_delays_of_different_keys_are_independent(run: Run) -> None:
    reconciler = FakeReconciler(takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add_after("a", 20)
        queue.add_after("b", 10)
        await asyncio.sleep(100)

    run(run_queue(reconciler, script))

    assert reconciler.starts == [(10, "b"), (20, "a")]
