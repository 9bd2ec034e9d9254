"""Whether the API server was away and is back, told by every call that is made to it; and pauses that end then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BETWEEN_SECONDS = 10.0
"""Recoveries sooner after one another count as one: an API server that answers now and then has not recovered."""

COLLECTIONS = frozenset({"list", "watch"})
NO_FAULT = frozenset({404, 410})
"""What a healthy API server answers to a list or a watch: the kind or the version is gone."""
OVERLOADED, UNKNOWN_USER, FROM_SERVER = 429, 401, 500


class ApiServerAvailability:
    """Notices the first call that succeeds after failures.

    The API server was away when a call found no connection, or when two collections failed and nothing succeeded in
    between. A failed write of one object says nothing about it: that object may be the cause.

    Args:
        recovered: called when it is back; must not block.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, recovered: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recovered = recovered
        self._clock = clock
        self._unreached = False
        self._failing: set[tuple[str, str]] = set()
        """Collections whose last list or watch failed."""
        self._lately: set[tuple[str, str]] = set()
        """Those that failed since the last success of any call."""
        self._last = float("-inf")
        self._back = asyncio.Event()

    def unreached(self) -> None:
        """A call found no connection, or lost it before an answer came."""
        self._unreached = True

    def answered(self, verb: str, path: str, code: int) -> None:
        """A call was answered with this HTTP status."""
        asked = (verb, path)
        if code >= 400:
            if verb in COLLECTIONS and code not in NO_FAULT:
                self._failing.add(asked)
                if code in {OVERLOADED, UNKNOWN_USER} or code >= FROM_SERVER:
                    self._lately.add(asked)
            return
        was_away = self._unreached or len(self._lately) > 1 or asked in self._failing
        if was_away and self._clock() - self._last < BETWEEN_SECONDS:
            # Not forgotten: what succeeds later tells it.
            return
        self._lately.clear()
        self._failing.discard(asked)
        if was_away:
            self._tell()

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until the API server is back; True in the second case."""
        try:
            # Unlike `wait_for` of Python 3.11, a timeout loses no cancellation.
            async with asyncio.timeout(seconds):
                await self._back.wait()
        except TimeoutError:
            return False
        return True

    def _tell(self) -> None:
        self._unreached, self._last = False, self._clock()
        self._failing.clear()
        back, self._back = self._back, asyncio.Event()
        back.set()
        self._recovered()
