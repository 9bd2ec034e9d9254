"""The operator's own prober, with its real pace and deadlines, beside one real replica."""

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


class Watcher:
    """Notes what the prober says of the replica, and when.

    Attributes:
        seen: (seconds since the start, health), one for each change.
    """

    def __init__(self, url: str, completion: CompletionMode, interval: float) -> None:
        self._begun = time.monotonic()
        self.seen: list[tuple[float, ReplicaHealth]] = []
        self.prober = ProbeManager(self._note)
        self.prober.sync(KEY, [ProbeTarget(KEY, POD, "uid", url, (MODEL,), interval, completion)])

    @property
    def health(self) -> ReplicaHealth:
        return self.prober.health(KEY)[POD]

    @property
    def reasons(self) -> list[str]:
        """What the replica was called, in order."""
        return [health.reason for _, health in self.seen]

    async def until(self, reason: str, seconds: float = 120.0) -> float:
        """Seconds until the replica is called `reason`."""
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while self.health.reason != reason:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return time.monotonic() - begun

    def _note(self, _: Key) -> None:
        self.seen.append((time.monotonic() - self._begun, self.health))


@asynccontextmanager
async def watching(
    url: str, completion: CompletionMode = "WhenSuspicious", interval: float = 10.0
) -> AsyncIterator[Watcher]:
    """A watcher that has seen its replica serve."""
    watcher = Watcher(url, completion, interval)
    running = asyncio.create_task(watcher.prober.run())
    try:
        await watcher.until("Serving")
        yield watcher
    finally:
        watcher.prober.stop()
        await running
