"""A failed key is retried after a growing backoff, which delays no other key."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.workqueue.scene import NEVER, FakeReconciler, Run, add_and_wait, run_queue
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import MAX_BACKOFF_SECONDS, WorkQueue
from vllm_operator.errors import ApiError, NoAnswerError


def test_backoff_doubles_with_each_failure_and_is_capped(run: Run) -> None:
    reconciler = FakeReconciler(ApiError(500, "InternalError", "no"), takes=0)
    run(run_queue(reconciler, add_and_wait(1000, "a")))
    delays = [later - sooner for sooner, later in zip(reconciler.times(), reconciler.times()[1:], strict=False)]

    assert len(delays) > 15
    for number, delay in enumerate(delays):
        planned = min(0.5 * 2**number, MAX_BACKOFF_SECONDS)
        assert 0.8 * planned <= delay <= 1.2 * planned


def test_any_exception_is_retried_with_backoff(run: Run) -> None:
    reconciler = FakeReconciler(ValueError("a defect"), NEVER, takes=0)
    run(run_queue(reconciler, add_and_wait(100, "a")))

    assert len(reconciler.times()) == 2


def test_success_resets_the_backoff(run: Run) -> None:
    error = ApiError(500, "InternalError", "no")
    reconciler = FakeReconciler(error, error, error, Requeue.after(100), error, NEVER, takes=0)
    run(run_queue(reconciler, add_and_wait(1000, "a")))
    times = reconciler.times()

    assert times[4] - times[3] == pytest.approx(100)
    assert times[5] - times[4] < 1


def test_retry_after_of_the_api_server_is_respected(run: Run) -> None:
    reconciler = FakeReconciler(*[ApiError(429, "TooManyRequests", "slow down", retry_after=30)] * 40, takes=0)
    run(run_queue(reconciler, add_and_wait(1000, "a")))
    delays = [later - sooner for sooner, later in zip(reconciler.times(), reconciler.times()[1:], strict=False)]

    assert len(delays) > 5
    assert min(delays) >= 30


def test_watch_events_during_a_failing_reconcile_do_not_shorten_its_backoff(run: Run) -> None:
    reconciler = FakeReconciler(ApiError(500, "InternalError", "no", retry_after=20), NEVER)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        await asyncio.sleep(100)

    run(run_queue(reconciler, script))

    assert reconciler.times() == [0, 21]


def test_watch_events_during_the_backoff_do_not_lengthen_it(run: Run) -> None:
    reconciler = FakeReconciler(ApiError(409, "Conflict", "no"), takes=0.0)

    async def script(queue: WorkQueue[str]) -> None:
        for _ in range(20):
            queue.add("a")
            await asyncio.sleep(0.01)
        early = len(reconciler.starts)
        assert early == 20
        # After about 0.5 and 1 s, as if there had been one reconcile.
        await asyncio.sleep(0.5)
        assert len(reconciler.starts) == early + 1
        await asyncio.sleep(1.2)
        assert len(reconciler.starts) == early + 2

    run(run_queue(reconciler, script))


def test_failing_key_does_not_delay_others(run: Run) -> None:
    class Failing(FakeReconciler):
        async def __call__(self, key: str) -> Requeue:
            await super().__call__(key)
            if key == "bad":
                raise ApiError(500, "InternalError", "no")
            return Requeue.after(10)

    reconciler = Failing()
    run(run_queue(reconciler, add_and_wait(100, "bad", "a"), workers=1))

    assert len(reconciler.times("bad")) > 3
    assert len(reconciler.times("a")) >= 8


def test_reset_backoff_retries_all_failed_keys_at_once(run: Run) -> None:
    reconciler = FakeReconciler(*[NoAnswerError("Unreachable", "no")] * 14, NEVER, takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(40)
        queue.reset_backoff()
        await asyncio.sleep(2.5)

    run(run_queue(reconciler, script))

    for key in "ab":
        before, after_it = reconciler.times(key)[-2:]
        assert before < 40 < after_it <= 42


def test_reset_backoff_starts_at_the_initial_backoff_again(run: Run) -> None:
    reconciler = FakeReconciler(ApiError(500, "InternalError", "no"), takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(300)
        queue.reset_backoff()
        await asyncio.sleep(5)

    run(run_queue(reconciler, script))

    assert len([time for time in reconciler.times() if time > 300]) >= 3
