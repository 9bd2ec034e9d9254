"""Long loops let other tasks run."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.kube.slices import SLICE_SECONDS, in_slices


@pytest.mark.parametrize(("step", "turns"), [(0.0, 0), (SLICE_SECONDS / 4, 2), (SLICE_SECONDS, 10)])
async def test_other_tasks_run_after_each_slice(step: float, turns: int) -> None:
    clock, seen = FakeClock(), 0

    async def other() -> None:
        nonlocal seen
        while True:
            await asyncio.sleep(0)
            seen += 1

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    items = []
    async for item in in_slices(range(10), clock):
        items.append(item)
        clock.now += step
    task.cancel()
    assert items == list(range(10))
    assert seen == turns
