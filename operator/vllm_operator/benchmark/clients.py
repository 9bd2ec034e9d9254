"""The clients of the replicas that serve now: each request goes to the replica with the fewest requests in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from vllm_operator.client import AsyncVLLMClient, ModelNotReady


class Clients:
    """One client for each replica, opened at its first request. Use it in an `async with` block.

    Args:
        urls: returns the base URLs of the replicas that serve at this moment.
        open_client: returns a client of a base URL.
    """

    def __init__(self, urls: Callable[[], Sequence[str]], open_client: Callable[[str], AsyncVLLMClient]) -> None:
        self._urls = urls
        self._open = open_client
        self._known: dict[str, AsyncVLLMClient] = {}
        self._in_flight: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncVLLMClient]:
        """Yield the client of the replica with the fewest requests in flight; among equals, that with the fewest sent.

        Raises:
            ModelNotReady: no replica serves at this moment.
        """
        urls = self._urls()
        if not urls:
            raise ModelNotReady("no replica is ready at this moment")
        url = min(urls, key=lambda one: (self._in_flight[one], self._sent[one]))
        if url not in self._known:
            self._known[url] = await self._stack.enter_async_context(self._open(url))
        self._in_flight[url] += 1
        self._sent[url] += 1
        try:
            yield self._known[url]
        finally:
            self._in_flight[url] -= 1
