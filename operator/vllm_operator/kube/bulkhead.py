"""Bounds on what runs at once, in which nobody waits long for someone who hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextvars import ContextVar
from types import TracebackType
from weakref import WeakValueDictionary

OWNER: ContextVar[Hashable] = ContextVar("owner", default=None)
"""On whose behalf something is done; tasks that are started meanwhile inherit it."""


class Bulkhead:
    """So many slots; who stays longer than `patience` seconds goes on without one, and the next gets it.

    What hangs ends by its own timeout, which bounds how many go on without a slot. Without patience, nobody does.
    """

    def __init__(self, count: int, patience: float | None) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience = patience

    async def take(self) -> BulkheadSlot:
        """Wait for a slot; it is to be left."""
        await self._free.acquire()
        return BulkheadSlot(self._free, self._patience)


class SharedBulkhead:
    """Slots that all owners share; while those are taken, each owner has one more, for one thing after the other.

    So an owner never waits for others: not if they hang, and however many they are.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._free = asyncio.Semaphore(count)
        self._patience = patience
        self._own: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()
        """Kept by who holds or awaits them."""

    async def take(self) -> BulkheadSlot:
        """Wait for a slot of the present owner; it is to be left."""
        free = self._own.setdefault(OWNER.get(), asyncio.Semaphore(1)) if self._free.locked() else self._free
        await free.acquire()
        return BulkheadSlot(free, self._patience)

    def stay(self) -> BulkheadPermit:
        """A slot for the length of an `async with`."""
        return BulkheadPermit(self)


class BulkheadSlot:
    """A slot that is taken, for a while."""

    __slots__ = ("_free", "_timer")

    def __init__(self, free: asyncio.Semaphore, patience: float | None) -> None:
        self._free: asyncio.Semaphore | None = free
        loop = asyncio.get_running_loop()
        self._timer = None if patience is None else loop.call_later(patience, self.leave)

    def leave(self) -> None:
        """Give the slot back, if that has not happened."""
        if self._free is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._free.release()
            self._free = None


class BulkheadPermit:
    """Takes a slot and leaves it."""

    __slots__ = ("_slot", "_slots")

    def __init__(self, slots: SharedBulkhead) -> None:
        self._slots = slots

    async def __aenter__(self) -> None:
        self._slot = await self._slots.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slot.leave()
