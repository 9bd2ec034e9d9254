"""A stand-in whose engine computes some requests at once and queues the others, with vLLM's metrics of both."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable

from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer, Json
from tests.helpers.paths import DATA

RECORDED_METRICS = (DATA / "vllm-0.32-metrics.txt").read_text()


class FakeEngineServer(FakeVLLMServer):
    """Answers a chat after `seconds`, for at most `capacity` requests at once.

    Attributes:
        asked: text of the first message -> number of requests that came.
        answered: number of answers.
        most_in_flight: the most requests at once.
        shows_metrics: whether `/metrics` exists.
    """

    def __init__(self, capacity: int = 10_000, seconds: float = 0.0) -> None:
        super().__init__()
        self.capacity = capacity
        self.seconds = seconds
        self.asked: Counter[str] = Counter()
        self.answered = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.running = 0
        self.shows_metrics = True
        self.keeps_requests = True
        self._free = asyncio.Semaphore(capacity)

    def metrics(self) -> str:
        """The recorded metrics of a vLLM, with the figures of this one."""
        values = {
            "vllm:num_requests_running": self.running,
            "vllm:num_requests_waiting": self.in_flight - self.running,
            "vllm:generation_tokens_total": self.answered * len(self.words),
            "vllm:prompt_tokens_total": self.answered * 5,
        }
        text = RECORDED_METRICS
        for name, value in values.items():
            text, count = re.subn(rf"^({name}\{{[^}}]*\}}) .*$", rf"\g<1> {float(value)}", text, flags=re.MULTILINE)
            assert count == 1, name
        return text

    async def _usual(self, request: web.Request, body: Json) -> web.StreamResponse:
        if not self.keeps_requests:
            self.requests.clear()
        if request.path == "/metrics" and self.shows_metrics:
            return web.Response(text=self.metrics())
        return await super()._usual(request, body)

    async def _whole(self, body: Json, chat: bool) -> web.StreamResponse:
        if chat:
            self.asked[str(body["messages"][0]["content"])] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._free:
                self.running += 1
                try:
                    await asyncio.sleep(self.seconds)
                finally:
                    self.running -= 1
            answer = await super()._whole(body, chat)
            self.answered += 1
            return answer
        finally:
            self.in_flight -= 1


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  The condition is a figure of the stand-in.
            await asyncio.sleep(0.005)
