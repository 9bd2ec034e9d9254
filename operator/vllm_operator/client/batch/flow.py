"""The bookkeeping of a batch: how many requests are in flight, and which results may be handed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from vllm_operator.client.batch.results import BatchResult

WINDOW = 2
"""Requests taken from the input and not yet handed on, as a multiple of the limit."""
ORDERED_WINDOW = 16
"""The same for results in order, where one slow request delays all that follow it."""
LEAST_WINDOW = 64


class Flow:
    """Counts requests and holds finished results: never more than a window, whatever the length of the input."""

    def __init__(self, limit: Callable[[], int], *, ordered: bool) -> None:
        """Start with nothing in flight. `limit` returns how many requests may be in flight now."""
        self._limit = limit
        self._ordered = ordered
        self._finished: deque[BatchResult] = deque()
        self._by_position: dict[int, BatchResult] = {}
        self._next = 0
        self.in_flight = 0
        """Requests that were sent and have no outcome."""
        self.outstanding = 0
        """Requests that were taken from the input and whose results were not handed on."""

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._limit()

    def has_room(self) -> bool:
        """Return whether another request may be taken from the input."""
        factor = ORDERED_WINDOW if self._ordered else WINDOW
        return self.outstanding < max(LEAST_WINDOW, factor * self._limit())

    def may_send(self) -> bool:
        """Return whether another request may be sent."""
        return self.in_flight < self._limit()

    def take(self) -> None:
        """Count a request that was taken from the input."""
        self.outstanding += 1

    def finish(self, result: BatchResult) -> None:
        """Hold a result until it is handed on."""
        if self._ordered:
            self._by_position[result.position] = result
        else:
            self._finished.append(result)

    def pop(self) -> BatchResult | None:
        """Return a result to hand on, or None when there is none yet."""
        if self._ordered:
            result = self._by_position.pop(self._next, None)
        else:
            result = self._finished.popleft() if self._finished else None
        if result is not None:
            self._next += 1
            self.outstanding -= 1
        return result
