"""Run a work queue on a clock that jumps from timer to timer."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import WorkQueue


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while something is ready, and else jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        waiting = [handle for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and waiting:  # type: ignore[attr-defined]
            self.now = max(self.now, heapq.nsmallest(1, waiting)[0].when())
        super()._run_once()  # type: ignore[misc]


Run = Callable[[Coroutine[Any, Any, None]], None]


NEVER = Requeue.never()


class FakeReconciler:
    """Reconciles that take `takes` seconds each and end as `ends` lists; the last entry repeats."""

    def __init__(self, *ends: Requeue | Exception, takes: float = 1.0) -> None:
        self.ends = list(ends) or [NEVER]
        self.takes = takes
        self.starts: list[tuple[float, str]] = []
        self.running: list[str] = []
        self.together = 0

    async def __call__(self, key: str) -> Requeue:
        assert key not in self.running, "two reconciles of one key at a time"
        self.starts.append((asyncio.get_running_loop().time() - 1000, key))
        self.running.append(key)
        self.together = max(self.together, len(self.running))
        await asyncio.sleep(self.takes)
        self.running.remove(key)
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return end

    def times(self, key: str = "a") -> list[float]:
        """Return the starts of the reconciles of `key`, in seconds since the start of the test."""
        return [time for time, started in self.starts if started == key]


async def run_queue(
    reconciler: FakeReconciler,
    script: Callable[[WorkQueue[str]], Coroutine[Any, Any, None]],
    workers: int = 8,
    is_new: Callable[[str], bool] = lambda key: False,
) -> None:
    """Run the queue for as long as the script runs, then cancel it."""
    queue = WorkQueue(reconciler, workers, is_new=is_new)
    task = asyncio.create_task(queue.run())
    await script(queue)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def add_and_wait(seconds: float, *keys: str) -> Callable[[WorkQueue[str]], Coroutine[Any, Any, None]]:
    """Return a script that adds the keys and waits."""

    async def script(queue: WorkQueue[str]) -> None:
        for key in keys:
            queue.add(key)
        await asyncio.sleep(seconds)

    return script
