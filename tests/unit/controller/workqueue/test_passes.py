"""One pass a key at a time, many keys in parallel, bursts merged."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.controller.workqueue.scene import FakeWork, Run, after, worked
from vllm_operator.controller.workqueue import MERGE_SECONDS, WorkQueue


def test_key_is_passed_over_once(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, "a")))

    assert work.times() == [0]


def test_burst_is_one_pass(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *["a"] * 50)))

    assert work.times() == [0]


def test_events_during_a_pass_are_one_more_pass_after_it(run: Run) -> None:
    work = FakeWork()

    async def script(queue: WorkQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(0.5)
        for _ in range(20):
            queue.add("a")
        await asyncio.sleep(100)

    run(worked(work, script))

    assert work.times() == pytest.approx([0, 1 + MERGE_SECONDS])


def test_keys_are_worked_on_together_up_to_the_number_of_workers(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *"abcdefg"), workers=3))

    assert work.together == 3
    assert sorted(key for _, key in work.starts) == list("abcdefg")


def test_keys_wait_in_the_order_in_which_they_came(run: Run) -> None:
    work = FakeWork()
    run(worked(work, after(100, *"cab"), workers=1))

    assert [key for _, key in work.starts] == ["c", "a", "b"]


def test_depth_is_what_waits_for_a_slot(run: Run) -> None:
    depths: list[int] = []

    async def script(queue: WorkQueue[str]) -> None:
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.5)
        depths.append(queue.depth)
        await asyncio.sleep(10)
        depths.append(queue.depth)

    run(worked(FakeWork(), script, workers=1))

    assert depths == [2, 0]


def test_longest_is_the_age_of_the_oldest_pass(run: Run) -> None:
    ages: list[float] = []

    async def script(queue: WorkQueue[str]) -> None:
        ages.append(queue.longest)
        queue.add("a")
        await asyncio.sleep(2)
        queue.add("b")
        await asyncio.sleep(1)
        ages.append(queue.longest)
        await asyncio.sleep(8)
        ages.append(queue.longest)
        await asyncio.sleep(20)
        ages.append(queue.longest)

    run(worked(FakeWork(takes=10), script))

    assert ages == [0.0, 3.0, 9.0, 0.0]


def test_end_cancels_passes_under_way(run: Run) -> None:
    ended: list[str] = []

    class Slow(FakeWork):
        async def __call__(self, key: str) -> float | None:
            try:
                return await super().__call__(key)
            except asyncio.CancelledError:
                ended.append(key)
                raise

    run(worked(Slow(takes=1000), after(1, "a", "b")))

    assert sorted(ended) == ["a", "b"]
