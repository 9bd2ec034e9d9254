"""Detect that the API server is reachable again, and cut short every sleep that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

MIN_RECOVERY_INTERVAL_SECONDS = 10.0
"""Seconds between two reported recoveries: an API server that answers only now and then has not recovered."""

COLLECTION_VERBS = frozenset({"list", "watch"})
EXPECTED_ERRORS = frozenset({404, 410})
"""Errors that a healthy API server returns to a list or a watch: the kind or the resource version is gone."""

UNAUTHORIZED, TOO_MANY_REQUESTS, FIRST_SERVER_ERROR = 401, 429, 500


class ApiServerAvailability:
    """Detect the first call that succeeds after an outage.

    An outage is a call that found no connection, or two collections that failed without a success in between.
    A failed write of one object proves no outage: the object itself may be the cause.

    Args:
        on_recovery: called when the API server is reachable again; must not block.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, on_recovery: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_recovery = on_recovery
        self._clock = clock
        self._no_connection = False
        self._failing: set[tuple[str, str]] = set()
        """Verb and path of the collections whose last list or watch failed."""
        self._failed_since_success: set[tuple[str, str]] = set()
        """Those of them that failed since the last success of any call, except for errors of a healthy API server."""
        self._recovered_at = float("-inf")
        self._recovery = asyncio.Event()

    def on_no_connection(self) -> None:
        """Record a call that found no connection, or lost it before its response."""
        self._no_connection = True

    def on_response(self, verb: str, path: str, status: int) -> None:
        """Record the HTTP status of a response, and report the recovery when it ends an outage."""
        call = (verb, path)
        if status >= 400:
            self._on_error(call, status)
            return
        was_away = self._no_connection or len(self._failed_since_success) > 1 or call in self._failing
        if was_away and self._clock() - self._recovered_at < MIN_RECOVERY_INTERVAL_SECONDS:
            # The failures stay recorded, so that a later success reports the recovery.
            return
        self._failed_since_success.clear()
        self._failing.discard(call)
        if was_away:
            self._notify()

    async def sleep_unless_recovered(self, seconds: float) -> bool:
        """Sleep for some seconds, or until the API server has recovered; returns True in the second case."""
        try:
            # Unlike `wait_for` of Python 3.11, a timeout loses no cancellation.
            async with asyncio.timeout(seconds):
                await self._recovery.wait()
        except TimeoutError:
            return False
        return True

    def _on_error(self, call: tuple[str, str], status: int) -> None:
        if call[0] not in COLLECTION_VERBS or status in EXPECTED_ERRORS:
            return
        self._failing.add(call)
        if status in {UNAUTHORIZED, TOO_MANY_REQUESTS} or status >= FIRST_SERVER_ERROR:
            self._failed_since_success.add(call)

    def _notify(self) -> None:
        """End every sleep, and report the recovery."""
        self._no_connection, self._recovered_at = False, self._clock()
        self._failing.clear()
        recovery, self._recovery = self._recovery, asyncio.Event()
        recovery.set()
        self._on_recovery()
