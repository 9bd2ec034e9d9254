"""Many things at once, and waiting for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

IN_FLIGHT = 32


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[Any]], limit: int = IN_FLIGHT) -> list[Any]:
    """Run `work` over the items, so many at once."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


async def until(is_done: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.25) -> None:
    """Ask again and again until it is done.

    Raises:
        TimeoutError: it was not, after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not await is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done after {seconds:g} s")
        await asyncio.sleep(pause)


async def until_silent(
    mark: Callable[[], int], written: Callable[[int], int], window: float, longest: float, most: int = 0
) -> None:
    """Wait for so many seconds in which at most so many writes are made, but no longer than `longest`.

    Args:
        mark: a position in the audit log.
        written: number of writes since one.
        window: seconds.
        longest: seconds; there are operators that never stop to write.
        most: writes that are nothing to wait for.
    """
    end = time.monotonic() + longest
    while (left := end - time.monotonic()) > 0:
        begin = mark()
        await asyncio.sleep(min(window, left))
        if written(begin) <= most:
            return
