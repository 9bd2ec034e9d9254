"""Many things at once, and waiting for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

IN_FLIGHT = 32


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]], limit: int = IN_FLIGHT) -> list[Any]:
    """Run `work` over the items, `limit` at a time."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


async def until(is_done: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.25) -> None:
    """Call `is_done` repeatedly until it returns True.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not await is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done after {seconds:g} s")
        await asyncio.sleep(pause)


async def until_silent(
    mark: Callable[[], int], written: Callable[[int], int], window: float, longest: float, most: int = 0
) -> None:
    """Wait for a window with at most `most` writes, but no longer than `longest`.

    Args:
        mark: a position in the audit log.
        written: number of writes since one.
        window: seconds.
        longest: seconds; some operators never stop writing.
        most: writes in a window that counts as silent.
    """
    end = time.monotonic() + longest
    while (left := end - time.monotonic()) > 0:
        begin = mark()
        await asyncio.sleep(min(window, left))
        if written(begin) <= most:
            return
