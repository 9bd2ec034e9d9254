"""Divide long loops, so that the event loop stays free for others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

SLICE_SECONDS = 0.01
"""Time after which a loop lets other tasks run. With the longest step, a diagnosis, it stays below 50 ms."""


async def in_slices(
    items: Iterable[Item], clock: Callable[[], float] = time.monotonic, seconds: float = SLICE_SECONDS
) -> AsyncIterator[Item]:
    """Yield items, and let other tasks run after each slice of time.

    Args:
        items: the items.
        clock: monotonic time in seconds.
        seconds: length of a slice.
    """
    end = clock() + seconds
    for item in items:
        yield item
        if clock() >= end:
            await asyncio.sleep(0)
            end = clock() + seconds
