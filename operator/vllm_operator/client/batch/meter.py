"""Measure the load in windows, for the controller of adaptive concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vllm_operator.client.batch.adaptive import LoadWindow
from vllm_operator.client.engine_load import EngineLoad
from vllm_operator.client.errors import RateLimitExceeded, ServerOverloaded, VLLMClientError
from vllm_operator.client.hooks import Observer, RequestInfo

FULL_SHARE = 0.75
"""Share of the samples of a window in which the limit must have been used."""
Loads = Mapping[str, EngineLoad]
"""Reading of each base URL."""


class LoadMeter(Observer):
    """Counts what the requests of a run got. As an observer of the client, it counts refused attempts."""

    def __init__(self) -> None:
        """Start at zero."""
        self.completed = 0
        self.tokens = 0
        self.refusals = 0

    def answered(self, tokens: int) -> None:
        """Count an answer."""
        self.completed += 1
        self.tokens += tokens

    def failed(self, error: VLLMClientError) -> None:
        """Count an attempt that a server refused because of overload."""
        self.refusals += isinstance(error, RateLimitExceeded | ServerOverloaded)

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Count an attempt that the client repeats."""
        self.failed(error)


@dataclass(frozen=True, slots=True)
class LoadSample:
    """The counters of a run and the engines at one moment."""

    time: float
    """Seconds of a monotonic clock."""
    completed: int
    tokens: int
    refusals: int
    is_full: bool
    """As many requests as allowed are in flight."""
    loads: Loads | None = None
    """Readings of all endpoints; None when one could not be read."""


class WindowMeter:
    """Makes windows of samples. A window begins some time after the limit changed, so that the change is visible."""

    def __init__(self, seconds: float, limit: int) -> None:
        """Begin the first window with the next sample."""
        self._seconds = seconds
        self._samples: list[LoadSample] = []
        self._limit = limit
        self._settled = True

    def restart(self, limit: int) -> None:
        """Begin another window, after a change of the limit only once the change has an effect."""
        self._settled = limit == self._limit
        self._limit = limit
        self._samples = self._samples[-1:]

    def add(self, sample: LoadSample) -> LoadWindow | None:
        """Add a sample. Return the window when it is complete."""
        if not self._settled:
            self._settle(sample)
            return None
        self._samples.append(sample)
        first = self._samples[0]
        if sample.refusals > first.refusals:
            return LoadWindow(sample.time - first.time, 0.0, "", refused=sample.refusals - first.refusals)
        if len(self._samples) < 2 or sample.time - first.time < self._seconds:
            return None
        engines = engine_throughput(first, sample)
        if engines is None and sample.completed - first.completed < self._limit and self._is_full():
            return None
        return self._window(first, sample, engines)

    def _settle(self, sample: LoadSample) -> None:
        """Wait until half of the requests are new, or, with the engines' own counters, for one sample."""
        base = self._samples[0] if self._samples else sample
        if engine_throughput(base, sample) is not None or sample.completed - base.completed >= self._limit / 2:
            self._settled = True
            self._samples = [sample]
        elif not self._samples:
            self._samples = [sample]

    def _window(self, first: LoadSample, last: LoadSample, engines: float | None) -> LoadWindow:
        """Return the figures between two samples."""
        seconds = last.time - first.time
        unit, throughput = "tokens/s (engines)", engines
        if throughput is None:
            tokens = last.tokens - first.tokens
            unit = "tokens/s" if tokens else "requests/s"
            throughput = (tokens or last.completed - first.completed) / seconds
        return LoadWindow(seconds, throughput, unit, waiting=self._waiting(), is_full=self._is_full())

    def _is_full(self) -> bool:
        """Return whether the limit was used in most samples."""
        return sum(sample.is_full for sample in self._samples) >= FULL_SHARE * len(self._samples)

    def _waiting(self) -> float | None:
        """Return the least number of requests that waited, or None when it is not known."""
        sums = [
            sum(load.waiting for load in sample.loads.values()) for sample in self._samples if sample.loads is not None
        ]
        return min(sums) if len(sums) == len(self._samples) else None


def engine_throughput(first: LoadSample, last: LoadSample) -> float | None:
    """Return the tokens a second of all engines between two samples.

    None when the readings do not compare: one is missing, an engine started again, or one address stands for several
    replicas, whose counters differ.
    """
    if first.loads is None or last.loads is None or first.loads.keys() != last.loads.keys() or last.time <= first.time:
        return None
    generated = prompts = 0.0
    for url, before in first.loads.items():
        after = last.loads[url]
        if after.started != before.started or after.generated_tokens < before.generated_tokens:
            return None
        generated += after.generated_tokens - before.generated_tokens
        prompts += after.prompt_tokens - before.prompt_tokens
    # Embeddings and scores generate nothing.
    return (generated or max(0.0, prompts)) / (last.time - first.time)
