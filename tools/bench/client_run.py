"""Run one client of `make bench-client` once, in its own process: `python -m tools.bench.client_run '{"subject": …}'`.

It prints seconds, CPU seconds and the largest resident memory as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tools.bench.client_stand_in import ANSWER_CHARACTERS, STREAM_CHUNKS
from tools.bench.client_subjects import SUBJECTS, limit_tokens


class WrongAnswerError(Exception):
    """A client returned another answer than the server sent."""


async def in_flight(call: Callable[[], Awaitable[int]], count: int, width: int, expected: int) -> None:
    """Make `count` calls, `width` of them at a time.

    Raises:
        WrongAnswerError: a call returned something else than `expected`; 0 stands for any number above zero.
    """
    left = count

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            found = await call()
            if found != expected and (expected or not found):
                raise WrongAnswerError(f"{found} in place of {expected}")

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


async def measure(options: dict[str, Any]) -> dict[str, float]:
    """Run one scenario after a warm-up and return its figures."""
    headers = {"x-interval-ms": str(options["interval_ms"])} if options.get("interval_ms") else {}
    if key := options.get("key"):
        headers["authorization"] = f"Bearer {key}"
    if options.get("tokens"):
        limit_tokens(options["tokens"])
    async with SUBJECTS[options["subject"]](options["url"], headers) as subject:
        call = subject.stream if options["stream"] else subject.answer
        expected = STREAM_CHUNKS if options["stream"] else ANSWER_CHARACTERS
        if options.get("tokens"):
            expected = 0  # The text of a real model is not known.
        await in_flight(call, options["warm_up"], min(options["width"], options["warm_up"]), expected)
        gc.collect()
        started, cpu = time.perf_counter(), time.process_time()
        await in_flight(call, options["count"], options["width"], expected)
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": spent, "rss_mib": rss_mib()}


def rss_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB. Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.loads(sys.argv[1])))))
