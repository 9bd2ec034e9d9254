"""Run a batch with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
)
from contextlib import aclosing
from typing import Any

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.flow import Flow
from vllm_operator.client.batch.monitor import watch_load
from vllm_operator.client.batch.results import BatchResult
from vllm_operator.client.batch.run import BatchRun, PlannedRequest


class ConcurrentBatch:
    """One run on the running event loop. All of its tasks end with `results`."""

    def __init__(self, client: AsyncVLLMClient, run: BatchRun) -> None:
        """Prepare the run."""
        self._client = client
        self._run = run
        self._flow = Flow(lambda: run.limit, ordered=run.options.ordered)
        self._ready = asyncio.Event()
        """There may be results to hand on, or the end."""
        self._room = asyncio.Event()
        """Another request may be taken or sent."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._fatal: Exception | None = None

    async def results(self, items: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[BatchResult]:
        """Yield the result of each request.

        Raises:
            BatchFileError: the results file cannot be written. Requests in flight are cancelled.
            Exception: an error of `items`, after all requests that it gave before have their results.
        """
        feeder = self._start_task(self._feed(items))
        monitor = None
        if self._run.controller is not None:
            monitor = asyncio.create_task(watch_load(self._client, self._run, self._flow, self._room.set))
        try:
            async for result in self._finished(feeder):
                yield result
            feeder.result()
        finally:
            tasks = [*self._tasks, feeder, *([monitor] if monitor else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finished(self, feeder: asyncio.Task[None]) -> AsyncIterator[BatchResult]:
        """Yield results until the input has ended and nothing is outstanding."""
        while True:
            self._ready.clear()
            while (result := self._flow.pop()) is not None:
                self._room.set()
                yield result
            if self._fatal is not None:
                raise self._fatal
            if feeder.done() and self._flow.outstanding == 0:
                return
            await self._ready.wait()

    async def _feed(self, items: Iterable[object] | AsyncIterable[object]) -> None:
        """Take requests from the input as long as there is room, and send them."""
        position = 0
        async with aclosing(as_async(items)) as source:
            async for item in source:
                await self._until(self._flow.has_room)
                planned = self._run.plan(position, item)
                self._flow.take()
                position += 1
                if isinstance(planned, BatchResult):
                    self._hand_on(planned)
                    continue
                await self._until(self._flow.may_send)
                self._flow.in_flight += 1
                self._start_task(self._send(planned))

    async def _send(self, planned: PlannedRequest) -> None:
        """Send a request and keep its result."""
        try:
            result = await self._run.send(self._client, planned)
        except Exception as error:
            # Such as a results file on a full disk: errors of the request itself are results.
            self._fatal = error
            self._ready.set()
            return
        finally:
            self._flow.in_flight -= 1
            self._room.set()
        self._hand_on(result)

    def _hand_on(self, result: BatchResult) -> None:
        """Keep a result for the caller."""
        self._flow.finish(result)
        self._run.progress.update(result, self._flow)
        self._ready.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        while not condition():
            self._room.clear()
            await self._room.wait()

    def _start_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the run; its end may be the end of the run."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a task."""
        self._tasks.discard(task)
        self._ready.set()


async def as_async(items: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[object]:
    """Yield the items of an iterable or an asynchronous one, and close it at the end if it is a generator."""
    iterator = aiter(items) if isinstance(items, AsyncIterable) else iter(items)
    try:
        if isinstance(iterator, AsyncIterator):
            async for item in iterator:
                yield item
        else:
            for item in iterator:
                yield item
    finally:
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
        elif isinstance(iterator, Generator):
            iterator.close()
