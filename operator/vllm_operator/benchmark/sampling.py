"""Sample the server once a second while the load runs: engines, replicas, autoscaler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from vllm_operator.benchmark.records import Sample

INTERVAL_SECONDS = 1.0

MOST_SAMPLES = 100_000
"""Samples that are kept: more than a day."""


class Sampler:
    """A thread that reads the server in each second. Use it in a `with` block.

    Args:
        read: reads one sample; its `seconds` are set here. It must not raise.
        clock: seconds since the measurement began.
        interval: seconds between two samples.
    """

    def __init__(
        self, read: Callable[[], Sample], clock: Callable[[], float], interval: float = INTERVAL_SECONDS
    ) -> None:
        self._read = read
        self._clock = clock
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=10 * self._interval)

    def _run(self) -> None:
        while not self._ended.is_set() and len(self.samples) < MOST_SAMPLES:
            started = self._clock()
            self.samples.append(replace(self._read(), seconds=started))
            self._ended.wait(max(0.0, self._interval - (self._clock() - started)))
