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
