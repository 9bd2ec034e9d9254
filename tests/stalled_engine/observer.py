"""The operator's probes of one real replica, with their real intervals and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.stalled_engine.engine import MODEL
from vllm_operator.api.operations import CompletionMode
from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import ProbeTarget

KEY = Key("llm", "mistral")
POD = "mistral-5f9c6d7b8-x2k7b"


class Observer:
    """Record each health of the replica, with its time.

    Attributes:
        seen: (seconds since the start, health), one for each change.
        verdicts: the verdict of each synthetic completion.
    """

    def __init__(self, url: str, completion: CompletionMode, interval: float, names: tuple[str, ...]) -> None:
        self._begun = time.monotonic()
        self.seen: list[tuple[float, ReplicaHealth]] = []
        self.verdicts: list[str] = []
        self.manager = ProbeManager(self._on_change, on_completion=self.verdicts.append)
        self.manager.sync(KEY, [ProbeTarget(KEY, POD, "uid", url, names, interval, completion)])

    @property
    def health(self) -> ReplicaHealth:
        return self.manager.health(KEY)[POD]

    @property
    def reasons(self) -> list[str]:
        """The reasons of the replica's health, in order."""
        return [health.reason for _, health in self.seen]

    async def until(self, reason: str, seconds: float = 120.0) -> float:
        """Return the seconds until the replica's health is `reason`."""
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while self.health.reason != reason:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return time.monotonic() - begun

    def _on_change(self, _: Key) -> None:
        self.seen.append((time.monotonic() - self._begun, self.health))


@asynccontextmanager
async def observing(
    url: str, completion: CompletionMode = "WhenSuspicious", interval: float = 10.0, names: tuple[str, ...] = (MODEL,)
) -> AsyncIterator[Observer]:
    """Yield an observer that has seen its replica serve."""
    observer = Observer(url, completion, interval, names)
    running = asyncio.create_task(observer.manager.run())
    try:
        await observer.until("Serving")
        yield observer
    finally:
        observer.manager.stop()
        await running
