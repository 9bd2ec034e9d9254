"""A queue in which namespaces take turns, and none has more than its share of the places."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ReadQueue(Generic[Item]):
    """Items by namespace. Each namespace has a turn after the others, and a bounded number of items at work.

    Args:
        share: items of one namespace at most that are at work at the same time.
    """

    def __init__(self, share: int) -> None:
        self._share = share
        self._waiting: OrderedDict[str, OrderedDict[Hashable, Item]] = OrderedDict()
        """Items by namespace, in the order of the namespaces' turns."""
        self._at_work: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def put(self, namespace: str, name: Hashable, item: Item) -> None:
        """Add an item, or replace the waiting one of the same name: the queue is no longer than there are names."""
        self._waiting.setdefault(namespace, OrderedDict())[name] = item
        self._changed.set()

    async def take(self) -> tuple[str, Item]:
        """Wait for the next item; return it with its namespace. The caller calls `finish` when its work ends."""
        while (found := self._next()) is None:
            self._changed.clear()
            await self._changed.wait()
        return found

    def finish(self, namespace: str) -> None:
        """Free the place of an item of a namespace."""
        self._at_work[namespace] -= 1
        if not self._at_work[namespace]:
            del self._at_work[namespace]
        self._changed.set()

    def _next(self) -> tuple[str, Item] | None:
        for namespace, items in self._waiting.items():
            if self._at_work[namespace] < self._share:
                _, item = items.popitem(last=False)
                self._waiting.move_to_end(namespace)
                if not items:
                    del self._waiting[namespace]
                self._at_work[namespace] += 1
                return namespace, item
        return None
