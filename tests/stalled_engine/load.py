"""Clients of a real vLLM: streams of tokens, long prompts, and requests without an answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.stalled_engine.engine import MODEL

PROMPT_TOKENS = 2000
VOCABULARY = range(10, 500)
"""Token numbers of the tiny model that stand for text."""


class Load:
    """Clients that send the next request as soon as they have an answer.

    Attributes:
        done: kind of request -> number of complete answers.
        failures: errors of the client.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.stopping = False

    def stream(self, clients: int, tokens: int) -> None:
        """Start `clients` that each stream `tokens`."""
        body = {"prompt": "Tell me", "max_tokens": tokens, "stream": True, "ignore_eos": True}
        self._spawn(clients, "stream", lambda: body)

    def prompts(self, clients: int) -> None:
        """Start `clients` that each send prompts of 2,000 tokens, no two of them alike."""
        self._spawn(clients, "prompt", lambda: {"prompt": random.choices(VOCABULARY, k=PROMPT_TOKENS), "max_tokens": 1})

    def _spawn(self, clients: int, kind: str, body: Any) -> None:
        self._tasks += [asyncio.create_task(self._client(kind, body)) for _ in range(clients)]

    async def _client(self, kind: str, body: Any) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while not self.stopping:
                try:
                    await self._request(session, body())
                    self.done[kind] += 1
                except aiohttp.ClientError as error:
                    self.failures.append(repr(error))
                    await asyncio.sleep(1)

    async def _request(self, session: aiohttp.ClientSession, body: Mapping[str, Any]) -> None:
        async with session.post(f"{self._url}/v1/completions", json={"model": MODEL, **body}) as answer:
            answer.raise_for_status()
            await answer.read()

    async def finish(self) -> None:
        """Wait until every client has its last answer."""
        self.stopping = True
        await asyncio.gather(*self._tasks)

    async def give_up(self) -> None:
        """Close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Yield clients that give up at the end."""
    made = Load(url)
    try:
        yield made
    finally:
        await made.give_up()
