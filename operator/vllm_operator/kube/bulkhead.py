"""Bound how many calls run at once, and keep calls that hang from blocking the others (the bulkhead pattern)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

CALLER: ContextVar[Hashable] = ContextVar("caller", default=None)
"""The server on whose behalf code runs. Tasks inherit it from the task that starts them."""


class Bulkhead:
    """A fixed number of permits. One that is held for longer than `release_after` is released to the next waiter.

    The holder goes on without a permit. Its own timeout bounds how many run without one.

    Args:
        count: number of permits.
        release_after: seconds; None to leave every permit to its holder.
    """

    def __init__(self, count: int, release_after: float | None) -> None:
        self._semaphore = asyncio.Semaphore(count)
        self._release_after = release_after

    async def acquire(self) -> BulkheadPermit:
        """Wait for a permit, which the caller must release."""
        await self._semaphore.acquire()
        return BulkheadPermit(self._semaphore, self._release_after)


class SharedBulkhead:
    """Permits that all callers share. While all are taken, each caller has one more, for one call at a time.

    So no caller waits for another one, however many there are and whether they hang or not.

    Args:
        count: number of shared permits.
        release_after: seconds after which a permit is released although its call still runs.
    """

    def __init__(self, count: int, release_after: float) -> None:
        self._shared = asyncio.Semaphore(count)
        self._release_after = release_after
        self._by_caller: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()
        """The additional permit of each caller. An entry lives while a task holds it or waits for it."""

    @asynccontextmanager
    async def permit(self) -> AsyncGenerator[None]:
        """Hold a permit of the present `CALLER` during an `async with`."""
        held = await self.acquire()
        try:
            yield
        finally:
            held.release()

    async def acquire(self) -> BulkheadPermit:
        """Wait for a permit of the present `CALLER`, which must release it."""
        semaphore = self._shared
        if semaphore.locked():
            semaphore = self._by_caller.setdefault(CALLER.get(), asyncio.Semaphore(1))
        await semaphore.acquire()
        return BulkheadPermit(semaphore, self._release_after)


class BulkheadPermit:
    """A permit that is held until `release` is called, or for `release_after` seconds."""

    __slots__ = ("_semaphore", "_timer")

    def __init__(self, semaphore: asyncio.Semaphore, release_after: float | None) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore
        loop = asyncio.get_running_loop()
        self._timer = None if release_after is None else loop.call_later(release_after, self.release)

    def release(self) -> None:
        """Give the permit back. Further calls do nothing."""
        if self._semaphore is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._semaphore.release()
            self._semaphore = None
