"""kopf's lists and watches, overheard and made bearable.

kopf tells its handlers neither of an empty list nor of a watch that broke. And an answer that it does not expect (an
ERROR event other than 410, a 404 or 410 instead of a watch, half a list) ends the operator, where listing again heals.
After 401 it closes its session at once, which breaks the calls that are just connecting, and ends the operator, too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, cast

import aiohttp

from vllm_operator.informers.reflector import REPLAY_SECONDS
from vllm_operator.informers.watch_lines import is_bookmark, state_version
from vllm_operator.kube.codec import parse_json
from vllm_operator.kube.kinds import WATCHED_KINDS, Kind

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
UNREACHED_PAUSE_SECONDS = 1.0
"""Longest pause where nothing answers, and nothing is loaded by a try: it shows when the API server is back."""
SHORT_SECONDS = 1.0
"""A watch that ends without a word sooner than this has failed."""

GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'
"""What makes kopf list again."""

DISCOVERED = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/api/v1/namespaces",
)
"""What kopf watches for itself. It knows how to do without, when it may not."""

_ERROR = re.compile(rb'^\s*\{\s*"type"\s*:\s*"ERROR"', re.MULTILINE)

logger = logging.getLogger(__name__)


class WatchMiddleware:
    """A middleware of the session that kopf uses.

    Args:
        namespaces: the namespaces that are served; None among them stands for all.
        listed: called when kopf lists a kind: something may have vanished before.
        is_known: whether the caches hold an object of a kind in this very resource version.
        wait: waits so many seconds, or until the API server is back, and then returns True.
        refused: called when the credentials are refused.
        broke: told how a call ended that was not answered; returns what to say of it.
    """

    def __init__(
        self,
        namespaces: Iterable[str | None],
        *,
        listed: Callable[[Kind], None],
        is_known: Callable[[Kind, str], bool],
        wait: Callable[[float], Awaitable[bool]],
        refused: Callable[[], Awaitable[None]],
        broke: Callable[[Exception], Awaitable[str]],
    ) -> None:
        self._kinds = {kind.path(namespace): kind for namespace in namespaces for kind in WATCHED_KINDS}
        self._listed = listed
        self._is_known = is_known
        self._wait = wait
        self._renew = refused
        self._broke = broke
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._heard: defaultdict[str, float] = defaultdict(lambda: float("-inf"))

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        path = request.url.path
        is_single = path not in self._kinds and path not in DISCOVERED
        try:
            response = await handler(request)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            words = await self._broke(error)
            if is_single:
                raise
            raise await self._failed(path, words, UNREACHED_PAUSE_SECONDS) from error
        if is_single:
            return await self._single(path, response)
        if response.status >= 400:
            return await self._refused(path, response)
        if request.url.query.get("watch") == "true":
            response.content = cast(aiohttp.StreamReader, _Events(response.content, self, path))
            return response
        return await self._list(path, response)

    def works(self, path: str) -> None:
        """Take note that a watch tells something: the next failure is the first again."""
        self._failures.pop(path, None)

    def news(self, path: str, lines: bytes) -> bytes:
        """The lines without what answers to our own writes told already: kopf takes 0.7 ms for each.

        Bookmarks that come soon after an event are left out too: they would step over events that were lost.
        """
        now, whole = time.monotonic(), lines.split(b"\n")
        events = [line for line in whole if not is_bookmark(line)]
        if any(events):
            self._heard[path] = now
        kept = events if now - self._heard[path] < REPLAY_SECONDS else whole
        if kind := self._kinds.get(path):
            kept = [line for line in kept if not self._is_known(kind, state_version(line))]
        return b"\n".join(kept)

    async def pause(self, path: str, longest: float = LONGEST_PAUSE_SECONDS) -> None:
        """Wait, the longer the more often it has failed, but not when the API server is back."""
        failures = self._failures[path] = self._failures[path] + 1
        pause = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 16), longest)
        if await self._wait(pause * random.uniform(0.8, 1.2)):
            self._failures.pop(path, None)

    async def _single(self, path: str, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        if response.status == 401:
            response.close()
            await self._renew()
            raise aiohttp.ClientConnectionError(f"{path}: the credentials were refused")
        return response

    async def _refused(self, path: str, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        """What becomes of an error: at 429 kopf waits as long as it is told to."""
        if response.status == 401:
            await self._renew()
        if response.status == 429 or (response.status == 403 and path not in self._kinds):
            return response
        if response.status == 410:
            await self.pause(path)
            response.status = 200
            response.content = cast(aiohttp.StreamReader, _Expired(response.content, self, path))
            return response
        response.close()
        raise await self._failed(path, f"{response.status} {response.reason}")

    async def _list(self, path: str, response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
        try:
            parse_json(await response.read())
        except (ValueError, RecursionError, aiohttp.ClientError) as error:
            raise await self._failed(path, f"half an answer: {error}") from error
        self._heard[path] = time.monotonic()
        if path in self._kinds:
            self._listed(self._kinds[path])
        return response

    async def _failed(self, path: str, words: str, longest: float = LONGEST_PAUSE_SECONDS) -> aiohttp.ClientError:
        """The error after which kopf begins anew; what it watches for itself it tries again at its own pace first."""
        logger.warning("%s: %s", path, words)
        if path not in self._kinds:
            return aiohttp.ClientConnectionError(words)
        await self.pause(path, longest)
        return aiohttp.ClientPayloadError(words)


class _Events:
    """The content of a watch: whole lines, and errors as something that kopf can heal."""

    def __init__(self, content: aiohttp.StreamReader, watches: WatchMiddleware, path: str) -> None:
        self._content = content
        self._watches = watches
        self._path = path

    def __getattr__(self, name: str) -> Any:
        """All else is the reader's."""
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        loop, rest, silent = asyncio.get_running_loop(), b"", True
        began = loop.time()
        async for chunk in self._content.iter_chunked(size):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            # Searching for a word is far cheaper than for a pattern.
            if b"ERROR" in lines and (found := _ERROR.search(lines)):
                logger.warning("%s: %s", self._path, lines[found.start() :][:500].decode(errors="replace").strip())
                yield lines[: found.start()]
                await self._watches.pause(self._path)
                yield GONE
                return
            if newline:
                silent = False
                self._watches.works(self._path)
                yield self._watches.news(self._path, lines) + newline
        # Half a line at the end is no event.
        if silent and loop.time() - began < SHORT_SECONDS:
            await self._watches.pause(self._path)
        elif silent:
            self._watches.works(self._path)


class _Expired(_Events):
    """What a watch tells whose resource version is too old."""

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        yield GONE
