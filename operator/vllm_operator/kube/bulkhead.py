"""Bound how many calls run at once, and keep calls that hang from blocking the others (the bulkhead pattern)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from vllm_operator.kube.key import Key

NAMESPACE_PERMITS = 32
"""Additional calls of one namespace at once, 200 kB each, when the shared ones are taken."""

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
        return BulkheadPermit(self._release_after, self._semaphore)


class SharedBulkhead:
    """Permits that all callers share. While all are taken, each caller has one more, for one call at a time.

    So no caller waits for one of another namespace, however many there are and whether they hang or not. Within a
    namespace the additional permits are bounded, because each is a connection.

    Args:
        count: number of shared permits.
        release_after: seconds after which a permit is released although its call still runs.
        namespace_count: additional permits of all callers of one namespace at once.
    """

    def __init__(self, count: int, release_after: float, namespace_count: int = NAMESPACE_PERMITS) -> None:
        self._shared = asyncio.Semaphore(count)
        self._release_after = release_after
        self._by_caller: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()
        """The additional permit of each caller. An entry lives while a task holds it or waits for it."""
        self._namespace_count = namespace_count
        self._by_namespace: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

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
        if not self._shared.locked():
            await self._shared.acquire()
            return BulkheadPermit(self._release_after, self._shared)
        caller = CALLER.get()
        own = self._by_caller.setdefault(caller, asyncio.Semaphore(1))
        await own.acquire()
        if not isinstance(caller, Key):
            return BulkheadPermit(self._release_after, own)
        of_namespace = self._by_namespace.setdefault(caller.namespace, asyncio.Semaphore(self._namespace_count))
        try:
            await of_namespace.acquire()
        except asyncio.CancelledError:
            own.release()
            raise
        return BulkheadPermit(self._release_after, own, of_namespace)


class BulkheadPermit:
    """A permit that is held until `release` is called, or for `release_after` seconds."""

    __slots__ = ("_semaphores", "_timer")

    def __init__(self, release_after: float | None, *semaphores: asyncio.Semaphore) -> None:
        self._semaphores = semaphores
        loop = asyncio.get_running_loop()
        self._timer = None if release_after is None else loop.call_later(release_after, self.release)

    def release(self) -> None:
        """Give the permit back. Further calls do nothing."""
        if self._timer is not None:
            self._timer.cancel()
        for semaphore in self._semaphores:
            semaphore.release()
        self._semaphores = ()
