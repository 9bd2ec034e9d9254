"""Probes of replicas on loopback, with a clock that the tests turn."""

from __future__ import annotations

import asyncio

from tests.helpers.fake_vllm import FakeVLLM
from vllm_operator.kube.key import Key
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import ProbeTarget

KEY = Key("llm", "mistral")
INTERVAL = 10.0


class Bench:
    """A probe manager whose time passes when a test lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.changes: list[Key] = []
        self.manager = ProbeManager(self.changes.append, clock=lambda: self.now, timeout=0.3)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass in steps of half a second, and every probe end."""
        for _ in range(int(seconds * 2) + 1):
            self._start_due()
            await self.manager.wait_until_idle()
            self.now += 0.5
        self.now -= 0.5

    def _start_due(self) -> None:
        self.manager._scheduler.start_due()

    def reason(self, pod: str = "pod-a") -> str:
        return self.manager.health(KEY)[pod].reason


def target(server: FakeVLLM, pod: str = "pod-a", uid: str = "", interval: float = INTERVAL) -> ProbeTarget:
    return ProbeTarget(KEY, pod, uid or f"uid-{pod}", server.url, ("mistral-7b",), interval)


async def until(condition: object, seconds: float = 5.0) -> None:
    """Wait until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
