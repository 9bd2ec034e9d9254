"""A silent window ends a wait, and so does its limit."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tools.bench.pacing import until_silent


@pytest.mark.parametrize(("counts", "most", "windows"), [([3, 1, 0], 0, 3), ([3, 1, 0], 1, 2), ([0], 0, 1)])
def test_wait_ends_with_the_first_window_of_few_writes(counts: list[int], most: int, windows: int) -> None:
    marks = itertools.count()
    asyncio.run(until_silent(lambda: next(marks), lambda mark: counts[mark], 0.001, 60, most))
    assert next(marks) == windows


def test_wait_ends_at_its_limit() -> None:
    marks = itertools.count()
    asyncio.run(until_silent(lambda: next(marks), lambda _: 1, 60, 0.01))
    assert next(marks) == 1
