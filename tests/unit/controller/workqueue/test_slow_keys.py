"""Keys whose reconcile hangs do not delay others."""

from __future__ import annotations

import asyncio

from tests.unit.controller.workqueue.scene import FakeReconciler, Run, add_and_wait, run_queue
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import SLOW_SECONDS, WorkQueue
from vllm_operator.errors import NoAnswerError
from vllm_operator.kube.bulkhead import CALLER

CROWD = [f"h{number}" for number in range(10)]


class Hanging(FakeReconciler):
    """Reconciles of keys that begin with h hang for the timeout of a call and fail; others take no time."""

    async def __call__(self, key: str) -> Requeue:
        self.takes = 20.0 if key.startswith("h") else 0.0
        await super().__call__(key)
        if key.startswith("h"):
            raise NoAnswerError("Unreachable", "no answer")
        return Requeue.never()


def test_hanging_keys_delay_others_for_the_slow_limit_at_most(run: Run) -> None:
    reconciler = Hanging()
    run(run_queue(reconciler, add_and_wait(100, *CROWD, "a"), workers=4))

    assert reconciler.times("a") == [2 * SLOW_SECONDS], "two full pools of workers before it"


def test_keys_that_hung_before_run_in_the_slow_pool_and_delay_no_other(run: Run) -> None:
    reconciler = Hanging()
    running: list[int] = []

    async def script(queue: WorkQueue[str]) -> None:
        for key in CROWD:
            queue.add(key)
        await asyncio.sleep(60)
        for _ in range(300):
            queue.add("a")
            await asyncio.sleep(1)
            running.append(len(reconciler.running))

    run(run_queue(reconciler, script, workers=4))

    assert reconciler.times("a") == [60.0 + second for second in range(300)]
    assert max(running) == 4
    assert all(len(reconciler.times(key)) >= 4 for key in CROWD)


def test_key_that_is_fast_again_leaves_the_slow_pool(run: Run) -> None:
    reconciler = FakeReconciler(takes=SLOW_SECONDS)
    in_slow_pool: list[bool] = []

    async def script(queue: WorkQueue[str]) -> None:
        for takes in (SLOW_SECONDS, 1.0, 1.0):
            reconciler.takes = takes
            queue.add("a")
            await asyncio.sleep(10.5)
            in_slow_pool.append(queue._pool_for("a") is queue._slow_pool)

    run(run_queue(reconciler, script, workers=1))

    assert in_slow_pool == [True, False, False]
    assert reconciler.times() == [0, 10.5, 21]


def test_new_keys_that_hang_delay_no_known_key(run: Run) -> None:
    reconciler = Hanging()
    run(run_queue(reconciler, add_and_wait(30, *CROWD, "a"), workers=4, is_new=CROWD.__contains__))

    assert reconciler.times("a") == [0]
    assert len(reconciler.times("h9")) >= 1


def test_key_owns_the_bulkhead_slots_of_its_reconcile(run: Run) -> None:
    owners: list[object] = []

    class OwnerRecorder(FakeReconciler):
        async def __call__(self, key: str) -> Requeue:
            await asyncio.gather(asyncio.create_task(self.record_owner()))
            return await super().__call__(key)

        async def record_owner(self) -> None:
            owners.append(CALLER.get())

    run(run_queue(OwnerRecorder(), add_and_wait(10, "a", "b")))

    assert owners == ["a", "b"]
    assert CALLER.get() is None
