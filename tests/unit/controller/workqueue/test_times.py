"""A pass asks for the time of the next one."""

from __future__ import annotations

import asyncio

from tests.unit.controller.workqueue.scene import FakeWork, Run, after, worked
from vllm_operator.controller.workqueue import WorkQueue


def test_pass_is_repeated_after_the_time_that_it_asks_for(run: Run) -> None:
    work = FakeWork(5.0, takes=0)
    run(worked(work, after(21, "a")))

    assert work.times() == [0, 5, 10, 15, 20]


def test_event_comes_before_the_time(run: Run) -> None:
    work = FakeWork(50.0, takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(10)
        queue.add("a")
        await asyncio.sleep(55)

    run(worked(work, script))

    assert work.times() == [0, 10, 60], "the time that the first pass asked for is void"


def test_earlier_of_two_times_counts(run: Run) -> None:
    work = FakeWork(takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        for seconds in (30, 10, 20):
            queue.add_later("a", seconds)
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == [10]


def test_times_of_different_keys_do_not_mix(run: Run) -> None:
    work = FakeWork(takes=0)

    async def script(queue: WorkQueue[str]) -> None:
        queue.add_later("a", 20)
        queue.add_later("b", 10)
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.starts == [(10, "b"), (20, "a")]
