"""Run a batch from synchronous code: the caller's thread reads the input, the client's thread sends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from vllm_operator.client.batch.flow import Flow
from vllm_operator.client.batch.monitor import watch_load
from vllm_operator.client.batch.results import BatchResult
from vllm_operator.client.batch.run import BatchRun, PlannedRequest
from vllm_operator.client.errors import ClientClosed
from vllm_operator.client.sync_client import VLLMClient

CHECK_SECONDS = 1.0
"""Seconds between two checks that the client's thread still runs."""


class ThreadedBatch:
    """One run from the caller's thread. None of its requests is left when `results` ends."""

    def __init__(self, client: VLLMClient, run: BatchRun) -> None:
        """Prepare the run."""
        self._client = client
        self._run = run
        self._flow = Flow(lambda: run.limit, ordered=run.options.ordered)
        self._done: SimpleQueue[BatchResult | Exception | None] = SimpleQueue()
        """Results, an error that ends the run, or None after a change of the limit."""
        self._loop = client._running().loop
        self._tasks: set[asyncio.Task[None]] = set()
        """Used in the client's thread only."""

    def results(self, items: Iterable[object]) -> Generator[BatchResult]:
        """Yield the result of each request.

        Raises:
            BatchFileError: the results file cannot be written. Requests in flight are cancelled.
            Exception: an error of `items`, after all requests that it gave before have their results.
        """
        source = enumerate(items)
        source_error: Exception | None = None
        has_more = True
        if self._run.controller is not None:
            self._start(watch_load(self._client._client, self._run, self._flow, lambda: self._done.put(None)))
        try:
            while has_more or self._flow.outstanding:
                try:
                    has_more = has_more and self._fill(source)
                except Exception as error:
                    has_more, source_error = False, error
                while (result := self._flow.pop()) is not None:
                    yield result
                if self._flow.in_flight:
                    self._receive()
            if source_error is not None:
                raise source_error
        finally:
            self._end()
            if isinstance(items, Generator):
                items.close()

    def _fill(self, source: Iterator[tuple[int, object]]) -> bool:
        """Take requests from the input and send them, as long as there is room. Return whether there may be more."""
        while self._flow.has_room() and self._flow.may_send():
            entry = next(source, None)
            if entry is None:
                return False
            planned = self._run.plan(*entry)
            self._flow.take()
            if isinstance(planned, BatchResult):
                self._keep(planned)
            else:
                self._flow.in_flight += 1
                self._start(self._send(planned))
        return True

    def _receive(self) -> None:
        """Wait for what the client's thread reports next, and keep it."""
        while True:
            try:
                done = self._done.get(timeout=CHECK_SECONDS)
                break
            except Empty:
                if self._loop.is_closed():
                    raise ClientClosed("the client was closed during the batch") from None
        while done is not None:
            self._flow.in_flight -= 1
            if isinstance(done, Exception):
                raise done
            self._keep(done)
            done = None if self._done.empty() else self._done.get()

    def _keep(self, result: BatchResult) -> None:
        """Keep a result for the caller."""
        self._flow.finish(result)
        self._run.progress.update(result, self._flow)

    async def _send(self, planned: PlannedRequest) -> None:
        """Send a request in the client's thread, and report its result."""
        try:
            result = await self._run.send(self._client._client, planned)
        except asyncio.CancelledError:
            self._done.put(ClientClosed("the client was closed during the batch"))
            raise
        except Exception as error:
            # Such as a results file on a full disk: errors of the request itself are results.
            self._done.put(error)
        else:
            self._done.put(result)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start a task in the client's thread."""

        def start() -> None:
            task = self._loop.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:
            coroutine.close()
            raise ClientClosed("the client was closed during the batch") from None

    def _end(self) -> None:
        """Cancel what is left, and wait until it has ended."""

        async def cancel() -> None:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        try:
            self._client._run(cancel)
        except ClientClosed:
            pass  # Its thread cancelled all tasks.
