"""Clients that count what becomes of their requests: answered, cut while answering, or failed before an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tests.stalled_engine.engine import MODEL

LONGEST_SECONDS = 120


@dataclass
class Outcomes:
    """Counts of requests by their end.

    Attributes:
        complete: requests with a whole answer, by kind.
        cut: requests whose answer had begun and ended early.
        failed: descriptions of requests without any answer, or with an error.
    """

    complete: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    failed: list[str] = field(default_factory=list)


class Clients:
    """Streaming and plain clients, each with one request at a time, on kept and on new connections."""

    def __init__(self, url: str) -> None:
        self.outcomes = Outcomes()
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, streams: int, plain: int, tokens: int) -> None:
        """Start clients that request `tokens` tokens each time."""
        self._tasks += [asyncio.create_task(self._run("stream", tokens, index % 2 == 0)) for index in range(streams)]
        self._tasks += [asyncio.create_task(self._run("plain", tokens, index % 2 == 0)) for index in range(plain)]

    async def stop(self) -> None:
        """Let the running requests end, and no new ones begin."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _run(self, kind: str, tokens: int, keep: bool) -> None:
        timeout = aiohttp.ClientTimeout(total=LONGEST_SECONDS)
        connector = aiohttp.TCPConnector(force_close=not keep)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while not self._stopping:
                await self._request(session, kind, tokens)

    async def _request(self, session: aiohttp.ClientSession, kind: str, tokens: int) -> None:
        body = {"model": MODEL, "prompt": "Tell me", "max_tokens": tokens, "ignore_eos": True}
        began, last = False, b""
        try:
            async with session.post(f"{self._url}/v1/completions", json=body | {"stream": kind == "stream"}) as answer:
                if answer.status != 200:
                    text = await answer.text()
                    self.outcomes.failed.append(f"{kind}: {answer.status} {text[:200]}")
                    await asyncio.sleep(0.1)
                    return
                began = kind == "stream"
                async for line in answer.content:
                    last = line if line.strip() else last
        except (aiohttp.ClientError, TimeoutError) as error:
            self._ended_early(kind, began, repr(error))
            return
        if kind == "stream" and last.strip() != b"data: [DONE]":
            self._ended_early(kind, began, f"last line {last[:100]!r}")
        else:
            self.outcomes.complete[kind] += 1

    def _ended_early(self, kind: str, began: bool, text: str) -> None:
        if began:
            self.outcomes.cut += 1
        else:
            self.outcomes.failed.append(f"{kind}: {text}")
