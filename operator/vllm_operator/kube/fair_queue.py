"""A queue in which the namespaces take turns, and none has more than its share: no tenant delays the others."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items in turns: the next one is the oldest of the namespace whose turn is longest ago.

    Args:
        share: items of one namespace at most that are at work at the same time.
        release_after: seconds after which an item no longer counts for its namespace; None to count it to its end.
    """

    def __init__(self, share: int, release_after: float | None = None) -> None:
        self._share = share
        self._release_after = release_after
        self._waiting: dict[str | None, OrderedDict[Hashable, Item]] = {}
        """Items by namespace; the namespace whose turn is next comes first. A namespace without items has no entry."""
        self._at_work: Counter[str | None] = Counter()
        self._changed = asyncio.Event()

    def put(self, namespace: str | None, name: Hashable, item: Item) -> None:
        """Add an item, or replace the waiting one of the same name: the queue is no longer than there are names.

        Args:
            namespace: its namespace; items of None share one turn and have no limit.
            name: its name in the namespace.
            item: what `get` returns.
        """
        self._waiting.setdefault(namespace, OrderedDict())[name] = item
        self._changed.set()

    async def get(self) -> tuple[Item, Turn]:
        """Wait for the next item. The caller must release its turn when the item is done."""
        while True:
            for namespace in self._waiting:
                if namespace is None or self._at_work[namespace] < self._share:
                    return self._take(namespace)
            self._changed.clear()
            await self._changed.wait()

    def _take(self, namespace: str | None) -> tuple[Item, Turn]:
        items = self._waiting.pop(namespace)
        _, item = items.popitem(last=False)
        if items:
            self._waiting[namespace] = items
        self._at_work[namespace] += 1
        return item, Turn(lambda: self._end(namespace), self._release_after)

    def _end(self, namespace: str | None) -> None:
        self._at_work[namespace] -= 1
        if not self._at_work[namespace]:
            del self._at_work[namespace]
        self._changed.set()


class Turn:
    """The place of an item among those of its namespace at work; it ends at `release`, or after `release_after`."""

    __slots__ = ("_end", "_timer")

    def __init__(self, end: Callable[[], None], release_after: float | None) -> None:
        self._end: Callable[[], None] | None = end
        loop = asyncio.get_running_loop()
        self._timer = None if release_after is None else loop.call_later(release_after, self.release)

    def release(self) -> None:
        """End the turn. Further calls do nothing."""
        if self._end is not None:
            if self._timer is not None:
                self._timer.cancel()
            end, self._end = self._end, None
            end()
