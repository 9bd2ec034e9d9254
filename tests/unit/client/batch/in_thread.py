"""A stand-in that runs in a thread, for the tests of synchronous code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.unit.client.batch.fake_engine import FakeEngineServer
from vllm_operator.client.loop_thread import LoopThread
from vllm_operator.client.sync_client import VLLMClient


@contextmanager
def serving(**options: Any) -> Iterator[FakeEngineServer]:
    """Run a stand-in in a thread."""
    thread = LoopThread()

    async def start() -> FakeEngineServer:
        return await FakeEngineServer(**options).__aenter__()

    server = thread.run(start())
    try:
        yield server
    finally:
        thread.run(server.__aexit__())
        thread.stop()


def tasks_of(client: VLLMClient) -> list[str]:
    """Return the tasks of batches that run in the client's thread."""

    async def tasks() -> list[str]:
        running = map(repr, asyncio.all_tasks())
        return [task for task in running if "ThreadedBatch" in task or "watch_load" in task]

    return client._running().run(tasks())


def wait_for(engine: FakeEngineServer, in_flight: int) -> None:
    """Wait until a number of requests is in flight."""
    deadline = time.monotonic() + 60
    while engine.in_flight != in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.005)
