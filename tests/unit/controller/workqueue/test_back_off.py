"""What failed is tried again after a growing pause, which nobody else feels."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.workqueue.scene import FakeWork, Run, after, worked
from vllm_operator.controller.workqueue import LONGEST_RETRY_SECONDS, WorkQueue
from vllm_operator.errors import ApiError, NoAnswerError


def test_back_off_doubles_with_each_failure_and_is_capped(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no"), takes=0)
    run(worked(work, after(1000, "a")))
    pauses = [later - sooner for sooner, later in zip(work.times(), work.times()[1:], strict=False)]

    assert len(pauses) > 15
    for number, pause in enumerate(pauses):
        planned = min(0.5 * 2**number, LONGEST_RETRY_SECONDS)
        assert 0.8 * planned <= pause <= 1.2 * planned


def test_any_exception_is_backed_off(run: Run) -> None:
    work = FakeWork(ValueError("a defect"), None, takes=0)
    run(worked(work, after(100, "a")))

    assert len(work.times()) == 2


def test_success_forgets_the_failures(run: Run) -> None:
    error = ApiError(500, "InternalError", "no")
    work = FakeWork(error, error, error, 100.0, error, None, takes=0)
    run(worked(work, after(1000, "a")))
    times = work.times()

    assert times[4] - times[3] == pytest.approx(100)
    assert times[5] - times[4] < 1


def test_api_servers_wish_to_wait_is_honoured(run: Run) -> None:
    work = FakeWork(*[ApiError(429, "TooManyRequests", "slow down", retry_after=30)] * 40, takes=0)
    run(worked(work, after(1000, "a")))
    pauses = [later - sooner for sooner, later in zip(work.times(), work.times()[1:], strict=False)]

    assert len(pauses) > 5
    assert min(pauses) >= 30


def test_events_during_a_failing_pass_do_not_shorten_its_back_off(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no", retry_after=20), None)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        queue.add("a")
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == [0, 21]


def test_events_while_a_key_backs_off_do_not_lengthen_its_pause(run: Run) -> None:
    work = FakeWork(ApiError(409, "Conflict", "no"), takes=0.0)

    async def script(queue: WorkQueue[str]) -> None:
        for _ in range(20):
            queue.add("a")
            await asyncio.sleep(0.01)
        early = len(work.starts)
        assert early == 20
        # After about 0.5 and 1 s, as if there had been one pass.
        await asyncio.sleep(0.5)
        assert len(work.starts) == early + 1
        await asyncio.sleep(1.2)
        assert len(work.starts) == early + 2

    run(worked(work, script))


def test_failing_key_does_not_delay_others(run: Run) -> None:
    class Failing(FakeWork):
        async def __call__(self, key: str) -> float | None:
            await super().__call__(key)
            if key == "bad":
                raise ApiError(500, "InternalError", "no")
            return 10.0

    work = Failing()
    run(worked(work, after(100, "bad", "a"), workers=1))

    assert len(work.times("bad")) > 3
    assert len(work.times("a")) >= 8


def test_when_a_common_cause_has_passed_what_failed_is_tried_again_at_once(run: Run) -> None:
    work = FakeWork(*[NoAnswerError("Unreachable", "no")] * 14, None, takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(40)
        queue.retry_failed()
        await asyncio.sleep(2.5)

    run(worked(work, script))

    for key in "ab":
        before, after_it = work.times(key)[-2:]
        assert before < 40 < after_it <= 42


def test_after_a_common_cause_failures_count_anew(run: Run) -> None:
    work = FakeWork(ApiError(500, "InternalError", "no"), takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(300)
        queue.retry_failed()
        await asyncio.sleep(5)

    run(worked(work, script))

    assert len([time for time in work.times() if time > 300]) >= 3
