"""A kind listed into the caches, and every change since then told, for ever: the rules of client-go's reflector.

kopf watches the servers. Their children send ten times as many events, and kopf takes some 0.7 ms for each: a task, a
queue, copies and handler states per object, none of which a cache needs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.informers.watch_lines import state_version
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.codec import parse_json
from vllm_operator.kube.kinds import Kind

SERVER_SECONDS = 20
"""When the API server ends a watch. One that lasts longer has died with its socket open."""
SILENT_SECONDS = 25.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 8.0
STEADY_SECONDS = 1.0
"""A watch that ends sooner has failed, whatever it says."""
ABSENT_SECONDS = 1.0
REPLAY_SECONDS = 60.0
"""How long the last event is gone back to, whatever bookmarks say: what was lost on the way is then told again. The API
server keeps about 75 s of events (`eventFreshDuration`)."""
GONE = 410
STILL_GOOD = frozenset({None, 401, 403, 429, 503})
"""Failures that say nothing against the version that was reached: no answer, no access, too much to do."""

logger = logging.getLogger(__name__)


class Reflector:
    """Keeps one kind of the caches in step with the API server.

    Args:
        kind: what is watched.
        client: the API client.
        path: collection that is watched.
        selector: label selector of its objects.
        relist: lists the kind into the caches; returns the resource version from which to watch, empty when the API
            server does not have the kind.
        saw: called with the type and the object of every event that tells something new.
        is_known: whether the caches hold an object in this very resource version: the answer to a write brought it.
        pause: waits so many seconds, or until the API server is back, and then returns True.
        is_served: whether the API server has the kind.
    """

    def __init__(
        self,
        kind: Kind,
        client: ApiClient,
        path: str,
        selector: str,
        relist: Callable[[], Awaitable[str]],
        saw: Callable[[str, Mapping[str, Any]], None],
        pause: Callable[[float], Awaitable[bool]],
        is_served: Callable[[], bool] = lambda: True,
        is_known: Callable[[str], bool] = lambda version: False,
    ) -> None:
        self._kind = kind
        self._client = client
        self._path = path
        self._selector = selector
        self._relist = relist
        self._saw = saw
        self._pause = pause
        self._is_served = is_served
        self._is_known = is_known
        self._version = ""
        self._heard = float("-inf")

    async def fill(self) -> None:
        """List the kind; `run` goes on from there.

        Raises:
            ApiError: the list failed.
        """
        self._version = await self._relist()

    async def run(self) -> None:
        """List and watch until cancelled. What breaks is taken up where it ended; what expired is listed again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            if not self._is_served():
                self._version = ""
                await asyncio.sleep(ABSENT_SECONDS)
                continue
            began, asked = time.monotonic(), 0.0
            try:
                await self._turn()
            except ApiError as error:
                asked = error.retry_after or 0.0
                self._note(error)
            lasted = time.monotonic() - began
            pause = FIRST_PAUSE_SECONDS if lasted > STEADY_SECONDS else min(2 * pause, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(asked)
            if await self._pause(max(pause * random.uniform(0.8, 1.2) - asked, 0.0)):
                pause = FIRST_PAUSE_SECONDS

    async def _turn(self) -> None:
        if not self._version:
            await self.fill()
        if self._version:
            await self._follow()

    def _note(self, error: ApiError) -> None:
        """Decide how to go on: from the last version, unless the API server cannot."""
        if error.status not in STILL_GOOD:
            self._version = ""
        if error.status != GONE:
            logger.info("the watch on %s broke, it will be taken up: %s", self._kind.plural, error)

    async def _follow(self) -> None:
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(SERVER_SECONDS),
            "labelSelector": self._selector,
        }
        async with aclosing(self._client.stream(self._path, parameters, SILENT_SECONDS)) as pieces:
            async for line in _lines(pieces):
                self._take(line)

    def _take(self, line: bytes) -> None:
        version = state_version(line)
        if self._is_known(version):
            self._version, self._heard = version, time.monotonic()
            return
        kind, body = _event(line)
        if kind == "ERROR":
            raise ApiError(int(body.get("code") or 500), str(body.get("reason")), str(body.get("message")))
        if kind == "BOOKMARK" and time.monotonic() - self._heard < REPLAY_SECONDS:
            return
        if kind != "BOOKMARK":
            self._tell(kind, body)
            self._heard = time.monotonic()
        self._version = str(body["metadata"]["resourceVersion"])

    def _tell(self, kind: str, body: Mapping[str, Any]) -> None:
        try:
            self._saw(kind, body)
        except Exception:
            # One object that cannot be understood must not hide the others.
            logger.exception("%s %s was not understood", self._kind.name, body["metadata"].get("name"))


async def _lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Whole lines; what is cut off at the end is dropped, and comes again when the watch is taken up."""
    rest: list[bytes] = []
    async for piece in pieces:
        *whole, last = piece.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest = []
        rest.append(last)


def _event(line: bytes) -> tuple[str, Mapping[str, Any]]:
    """Type and object of an event.

    Raises:
        ApiError: the line is no event.
    """
    try:
        event = parse_json(line)
        kind, body = str(event["type"]), event["object"]
        if kind != "ERROR":
            str(body["metadata"]["resourceVersion"])
        return kind, body
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise NoAnswerError("BadAnswer", f"the API server sent no event: {error}") from error
