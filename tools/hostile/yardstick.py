"""The least that an operator can take on this machine at this moment: a watch, and one write for each event.

Its time is measured next to that of the operator, so that a slow API server is not counted as a slow operator.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress

import orjson

from tools.bench.loop import FastClient
from tools.hostile.tenant import REFUSED

NAMESPACE = "yardstick"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
PAUSE_SECONDS = 0.3
LONGEST_SECONDS = 60.0


class Yardstick:
    """Copy a value from one ConfigMap to another, and measure the time from its patch to the copy.

    Attributes:
        seconds: of each copy.
    """

    def __init__(self, client: FastClient) -> None:
        self._client = client
        self._shown: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self.seconds: list[float] = []

    async def run(self, until: float) -> None:
        """Measure until this moment of the monotonic clock."""
        await self._client.namespace(NAMESPACE)
        for name in ("asked", "made"):
            await self._write(name, "0")
        tasks = [asyncio.create_task(work) for work in (self._watch(), self._copy())]
        try:
            for number in itertools.count(1):
                if time.monotonic() >= until:
                    break
                await self._one(f"{until}-{number}")
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, value: str) -> None:
        begun = time.monotonic()
        with suppress(*REFUSED):
            await self._write("asked", value)
            async with asyncio.timeout(LONGEST_SECONDS):
                await self._shows(value)
            self.seconds.append(time.monotonic() - begun)

    async def _copy(self) -> None:
        """Act as the operator."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._shown.get("asked") != self._shown.get("made"))
                value = self._shown["asked"]
            with suppress(*REFUSED):
                await self._write("made", value)
            await self._shows(value)

    async def _shows(self, value: str) -> None:
        """Wait until the watch shows this copy."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._shown.get("made") == value)

    async def _write(self, name: str, value: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
        await self._client.apply(f"{PATH}/{name}", orjson.dumps(body))

    async def _watch(self) -> None:
        while True:
            with suppress(*REFUSED):
                listed = await self._client.get(PATH)
                for item in listed["items"] or ():
                    await self._show(item["metadata"]["name"], item.get("data", {}))
                async for event in self._client.watch(PATH, listed["metadata"]["resourceVersion"]):
                    if event["type"] == "ERROR":
                        break
                    await self._show(event["object"]["metadata"]["name"], event["object"].get("data", {}))
            await asyncio.sleep(0.05)

    async def _show(self, name: str, data: dict[str, str]) -> None:
        async with self._changed:
            self._shown[name] = data.get("value", "")
            self._changed.notify_all()
