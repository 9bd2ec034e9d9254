"""Keep the cache of one kind current by list and watch, like client-go's Reflector."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from vllm_operator.api.names import UNREADABLE
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.informers.cache_budget import UnreadLog
from vllm_operator.informers.watch_source import RelistPolicy, WatchSource, selector_of
from vllm_operator.kube.client import MAX_RESPONSE_BYTES, ApiClient
from vllm_operator.kube.raw_objects import RawWatchEvent, cut_watch_event, read_object
from vllm_operator.kube.responses import error_of_status

WATCH_SECONDS = 20
"""Seconds after which the API server ends a watch. A watch that lasts longer is broken, although its socket is open."""
SILENT_SECONDS = 25.0
"""Seconds without a byte after which the operator closes a watch."""
STEADY_SECONDS = 1.0
"""An attempt that ends sooner counts as failed, whatever events it brought."""
REPLAY_SECONDS = 60.0
"""Longest time for which the version to resume from stays behind: bookmarks, and events that the caches hold already,
do not move it. So the API server sends again what was lost on the way. It keeps about 75 s of events
(`eventFreshDuration`)."""
STATES = frozenset({"ADDED", "MODIFIED"})
"""Types of the events that bring the state of an object."""
FRESH_SECONDS = WATCH_SECONDS + SILENT_SECONDS
"""Seconds without news after which the cache may be outdated. A watch that works brings an event, or ends and is
resumed, at least every `WATCH_SECONDS`."""
EXPIRED = 410
BAD_ANSWER = "BadAnswer"
"""Reason of an answer that could not be parsed: the API server, or a proxy in front of it, is reachable."""
RESUMABLE = frozenset({None, 401, 403, 429, 503})
"""HTTP statuses after which the watch resumes at the last version: no answer, no access, or overload. After any other
status the reflector lists again."""

logger = logging.getLogger(__name__)


class Reflector:
    """Lists one collection into the caches, and watches it until it is cancelled.

    A watch that breaks resumes where it ended. ERROR events, 404 and 410 lead to a new list.

    Args:
        client: the API client.
        source: the collection.
        on_watch_event: called with type and object of each event that the caches do not hold already.
        has_version: returns whether the caches hold an object in this very resource version, since the answer to a
            write brought it.
        retry: delays between two attempts.
    """

    def __init__(
        self,
        client: ApiClient,
        source: WatchSource,
        on_watch_event: Callable[[str, Mapping[str, Any]], None],
        has_version: Callable[[str], bool],
        retry: RelistPolicy,
    ) -> None:
        self._client = client
        self._source = source
        self._on_watch_event = on_watch_event
        self._has_version = has_version
        self._retry = retry
        self._version = ""
        """Resource version to watch from; empty before a list."""
        self._moved_at = float("-inf")
        """Monotonic time at which the version was moved."""
        self._last_event = float("-inf")
        """Monotonic time of the last event or list."""
        self._last_news = float("-inf")
        """Monotonic time of the last list, event, bookmark, or regular end of a watch."""
        self._is_absent = False
        self._unread = UnreadLog()

    @property
    def is_fresh(self) -> bool:
        """True while the API server confirms the cache: the last news is no older than `FRESH_SECONDS`."""
        return time.monotonic() - self._last_news <= FRESH_SECONDS

    async def fill(self) -> None:
        """List the collection once; `run` continues from this list.

        Raises:
            ApiError: the list failed.
        """
        self._move_to(await self._source.relist())
        self._last_event = self._last_news = time.monotonic()
        was_absent, self._is_absent = self._is_absent, not self._version
        # `OptionalKinds` logs those that come and go.
        if was_absent != self._is_absent and not self._source.kind.optional:
            state = "not served: is its CRD installed?" if self._is_absent else "served again"
            logger.warning("%s: %s", self._source.kind.plural, state)

    async def run(self) -> None:
        """List and watch until cancelled."""
        short_attempts = 0
        while True:
            if not self._source.is_served():
                self._version = ""
                await asyncio.sleep(self._retry.absent_seconds)
                continue
            started, error = time.monotonic(), None
            try:
                await self._list_and_watch()
            except ApiError as found:
                error = found
                self._handle(error)
            short_attempts = 0 if time.monotonic() - started > STEADY_SECONDS else short_attempts + 1
            if await self._wait(error, short_attempts):
                short_attempts = 0

    async def _list_and_watch(self) -> None:
        if not self._version:
            await self.fill()
        if self._version:
            await self._watch()

    def _handle(self, error: ApiError) -> None:
        """Log the error, and decide whether the watch may resume at the last version."""
        if error.status not in RESUMABLE:
            self._version = ""
        if error.status != EXPIRED:
            logger.warning("the watch on %s ended, and will be resumed: %s", self._source.kind.plural, error)

    async def _wait(self, error: ApiError | None, short_attempts: int) -> bool:
        """Sleep until the next attempt; return True when the API server is reachable again."""
        if error is None and self._is_absent:
            return await self._retry.sleep(self._retry.jittered(self._retry.absent_seconds))
        requested = (error.retry_after if error else None) or 0.0
        unreachable = isinstance(error, NoAnswerError) and error.reason != BAD_ANSWER
        delay = self._retry.delay(short_attempts, reachable=not unreachable)
        await asyncio.sleep(requested)
        return await self._retry.sleep(max(delay - requested, 0.0))

    async def _watch(self) -> None:
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if selector := selector_of(self._source.kind):
            parameters["labelSelector"] = selector
        async with aclosing(self._client.stream(self._source.path, parameters, SILENT_SECONDS)) as chunks:
            async for line in _lines(chunks):
                await self._process(line)
                self._last_news = time.monotonic()
        self._last_news = time.monotonic()

    async def _process(self, line: bytes) -> None:
        """Take over one line of the watch.

        Raises:
            ApiError: the line is an ERROR event, or no event.
        """
        now, event = time.monotonic(), await _cut(line)
        if event.type in STATES and self._has_version(event.version):
            self._last_event = now
            if now - self._moved_at >= REPLAY_SECONDS:
                self._move_to(event.version)
            return
        if event.type == "ERROR":
            raise error_of_status(event.object)
        if event.type == "BOOKMARK" and now - self._last_event < REPLAY_SECONDS:
            return
        if event.type != "BOOKMARK":
            self._report(event)
            self._last_event = now
        self._move_to(event.version)

    def _move_to(self, version: str) -> None:
        self._version, self._moved_at = version, time.monotonic()

    def _report(self, event: RawWatchEvent) -> None:
        kind = self._source.kind
        try:
            body = read_object(event.object, kind)
            if UNREADABLE in body:
                metadata = body["metadata"]
                self._unread.log(kind.name, metadata.get("namespace", ""), metadata["name"], body[UNREADABLE])
            self._on_watch_event(event.type, body)
        except Exception:
            # One object that cannot be read must not hide the others.
            logger.exception("%s in version %s could not be read", kind.name, event.version)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield whole lines. A line that is cut off at the end is dropped: the resumed watch sends it again.

    Raises:
        NoAnswerError: a line is longer than any object.
    """
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > MAX_RESPONSE_BYTES:
            raise NoAnswerError(BAD_ANSWER, f"a watch event has more than {MAX_RESPONSE_BYTES:,} bytes")


async def _cut(line: bytes) -> RawWatchEvent:
    """Return type and raw object of a watch event.

    Raises:
        NoAnswerError: the line is no watch event.
    """
    try:
        event = await cut_watch_event(line)
    except ValueError as error:
        raise NoAnswerError(BAD_ANSWER, f"the API server sent no watch event: {error}") from error
    if event.type != "ERROR" and not event.version:
        raise NoAnswerError(BAD_ANSWER, "the API server sent no watch event: it has no resource version")
    return event
