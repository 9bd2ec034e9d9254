"""A queue in which the namespaces take turns, and none takes all workers: no tenant's servers delay those of others."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from vllm_operator.kube.key import Key

K = TypeVar("K", bound=Hashable)


def namespace_of(key: object) -> str | None:
    """Return the namespace of a server's key; None for other keys, which share one turn and no limit."""
    return key.namespace if isinstance(key, Key) else None


def share_of(workers: int) -> int:
    """Return how many of the workers one namespace takes at most: three quarters, so that others find one free."""
    return max(1, workers - max(1, workers // 4))


class FairQueue(Generic[K]):
    """Keys in turns: the next key is the oldest one of the namespace whose turn is longest ago.

    Args:
        share: workers that one namespace takes at most.
        release_after: seconds after which a key no longer counts for its namespace; None to count it to its end.
        group_of: returns the namespace of a key; None for a key without a limit.
    """

    def __init__(
        self, share: int, release_after: float | None, group_of: Callable[[K], Hashable | None] = namespace_of
    ) -> None:
        self._share = share
        self._release_after = release_after
        self._group_of = group_of
        self._waiting: dict[Hashable | None, deque[K]] = {}
        """Keys by namespace; the namespace whose turn is next comes first. A namespace without keys has no entry."""
        self._running: Counter[Hashable] = Counter()
        self._changed = asyncio.Event()

    def put(self, key: K) -> None:
        """Append a key to those of its namespace."""
        self._waiting.setdefault(self._group_of(key), deque()).append(key)
        self._changed.set()

    async def get(self) -> tuple[K, Turn]:
        """Wait for the next key. The caller must release its turn when the key is done."""
        while True:
            for group in self._waiting:
                if group is None or self._running[group] < self._share:
                    return self._take(group)
            self._changed.clear()
            await self._changed.wait()

    def _take(self, group: Hashable | None) -> tuple[K, Turn]:
        keys = self._waiting.pop(group)
        key = keys.popleft()
        if keys:
            self._waiting[group] = keys
        self._running[group] += 1
        return key, Turn(lambda: self._end(group), self._release_after)

    def _end(self, group: Hashable | None) -> None:
        self._running[group] -= 1
        if not self._running[group]:
            del self._running[group]
        self._changed.set()


class Turn:
    """The place of a key among those of its namespace that run; it ends at `release`, or after `release_after`."""

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
