"""An event loop in a thread, so that synchronous callers use the asynchronous client with its exact timeouts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vllm_operator.client.errors import ClientClosed

T = TypeVar("T")
STOP_SECONDS = 5.0
"""Seconds for the last coroutine of a loop."""


class LoopThread:
    """A daemon thread that runs an event loop. Any thread may call `run`."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._lock = threading.RLock()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="vllm-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine; an interrupt of the caller cancels it.

        Raises:
            ClientClosed: the loop was stopped before the coroutine ended.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("called from the client's own event loop: use AsyncVLLMClient there")
        with self._lock:
            # What is submitted before the stop is cancelled by it; anything later would never run.
            if self._stopping:
                coroutine.close()
                raise ClientClosed("the client is closed: make a new one")
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if self._stopping:
                raise ClientClosed("the client was closed during the request") from None
            raise
        except BaseException:
            future.cancel()
            raise

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Run a last coroutine, end the loop, and wait for its thread, unless that is the caller's.

        Args:
            last: makes the coroutine, such as one that closes connections. It gets `STOP_SECONDS`.
        """
        with self._lock:
            if not self._stopping:
                self._stopping = True
                asyncio.run_coroutine_threadsafe(self._finish(last), self.loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _finish(self, last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        try:
            if last is not None:
                async with asyncio.timeout(STOP_SECONDS):
                    await last()
        except TimeoutError:
            pass
        finally:
            self.loop.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of uvloop, which is faster; the standard one where uvloop does not exist."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
