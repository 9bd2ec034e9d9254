"""A load that counts what becomes of each request, on kept and on new connections, streamed and not."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.gateway.requests import CHAT, chat


@dataclass
class Load:
    """Clients that send one request after the other.

    Attributes:
        outcomes: number of requests by their end.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.03
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run(index)) for index in range(8)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    @property
    def lost(self) -> dict[str, int]:
        return {name: count for name, count in self.outcomes.items() if not name.startswith("served")}

    async def _run(self, index: int) -> None:
        connector = aiohttp.TCPConnector(force_close=index % 2 == 0, ssl=False)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
            number = 0
            while not self._stopping:
                number += 1
                kind = "stream" if index % 4 < 2 else "plain"
                self.outcomes[
                    await self._request(session, kind, chat(f"{index} {number}", stream=kind == "stream"))
                ] += 1
                await asyncio.sleep(self.pause)

    async def _request(self, session: aiohttp.ClientSession, kind: str, body: dict[str, Any]) -> str:
        try:
            async with session.post(self.url + CHAT, json=body, headers=self.headers) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"failed: {type(error).__name__}"
        if response.status != 200:
            return f"failed: {response.status} {text[:100]}"
        complete = "[DONE]" in text if kind == "stream" else "usage" in text
        return f"served {kind}" if complete else "cut"
