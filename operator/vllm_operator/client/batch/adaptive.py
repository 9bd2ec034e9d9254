"""Choose how many requests are in flight: raise the limit until throughput no longer rises or the queue grows.

vLLM batches on the server: throughput rises with the requests in flight until compute or KV cache is used up, and from
there on each further request only waits. Latency is no sign of that point, since it rises from the first request on.
So the controller compares throughput before and after a step, as hill climbing does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

GAIN_SHARE = 0.1
"""Least gain of throughput, as a share of the step: twice the requests must bring 10% more."""
RAMP = 2.0
"""Factor of a step until the first step without a gain, as in the slow start of TCP."""
PROBE = 1.25
"""Factor of a step that checks from time to time whether more is possible now."""
BACKOFF = 0.5
"""Factor after a server refused requests because it is overloaded, as in AIMD."""
QUEUE_SHARE = 0.1
"""Share of the limit that may wait in the engine: a short queue keeps the batch full."""
HOLD_WINDOWS = 10
"""Windows without a change after a step brought nothing. Each further step without a gain doubles them."""
MAX_HOLD_WINDOWS = 80
COLLAPSE = 0.7
"""Share of the best throughput below which the measured best is out of date, such as after a replica is gone."""


@dataclass(frozen=True, slots=True)
class AdaptiveConcurrency:
    """Settings of adaptive concurrency: pass it as `max_concurrency`."""

    start: int = 8
    minimum: int = 1
    maximum: int = 1024
    window: float = 1.0
    """Least seconds of one measurement. Without vLLM's metrics a window also lasts until `limit` requests ended."""
    use_server_metrics: bool = True
    """Read `/metrics` of each base URL. Where they cannot be read, the client's own figures are used."""

    def __post_init__(self) -> None:
        """Check the order of the bounds."""
        if self.minimum < 1:
            raise ValueError(f"minimum: {self.minimum} is below 1: at least one request must be in flight")
        if not self.minimum <= self.start <= self.maximum:
            raise ValueError(
                f"start: {self.start} is outside minimum {self.minimum} to maximum {self.maximum}: choose one between"
            )
        if not 0 < self.window < float("inf"):
            raise ValueError(f"window: {self.window} is not a number of seconds above 0")


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """The figures of one measurement, during which the limit did not change."""

    seconds: float
    throughput: float
    """Units a second; the unit is the same for all windows with the same `unit`."""
    unit: str
    waiting: float | None = None
    """Requests that waited in the engines throughout the window (the least of all samples); None when unknown."""
    refused: int = 0
    """Requests that a server refused because of overload (429, 503)."""
    is_full: bool = True
    """The limit was used: requests were there to be sent throughout the window."""


@dataclass(frozen=True, slots=True)
class LimitDecision:
    """A limit and the reason for it, for logs and progress bars."""

    limit: int
    reason: str


class ConcurrencyController:
    """Decide about the limit from one window after another. It does no I/O and reads no clock."""

    def __init__(self, settings: AdaptiveConcurrency) -> None:
        """Begin with the limit `settings.start`."""
        self.settings = settings
        self.limit = settings.start
        self._unit = ""
        self._best = 0.0
        """Throughput at `_best_limit`."""
        self._best_limit = settings.start
        self._factor = RAMP
        self._doubts = 0
        """Windows in a row at this limit without a gain."""
        self._hold = 0
        """Windows left without a step."""
        self._next_hold = HOLD_WINDOWS
        self._queued = 0
        """Windows in a row in which too many requests waited."""

    def observe(self, window: LoadWindow) -> LimitDecision:
        """Take one window into account, set `limit` and return it with the reason."""
        if window.refused:
            return self._back_off(window)
        if not window.is_full:
            return LimitDecision(self.limit, "fewer requests than the limit")
        if window.unit != self._unit:
            # Figures of another unit do not compare: measure this limit again.
            self._unit, self._best, self._doubts = window.unit, 0.0, 0
        if self._is_queue_long(window):
            return (
                self._drain(window) if self._queued > 1 else LimitDecision(self.limit, "requests wait in the engines")
            )
        if window.throughput <= 0:
            return LimitDecision(self.limit, "no request ended")
        if self._best <= 0:
            return self._measure(window)
        return self._stay(window) if self.limit == self._best_limit else self._judge_step(window)

    def _back_off(self, window: LoadWindow) -> LimitDecision:
        """Halve the limit, and hold it."""
        limit = self._bounded(self.limit * BACKOFF)
        self._settle(limit, best=0.0)
        return LimitDecision(limit, f"{window.refused} requests were refused because of overload")

    def _is_queue_long(self, window: LoadWindow) -> bool:
        """Return whether more requests wait than keep the batch full, and count such windows in a row."""
        bound = max(1.0, self.limit * QUEUE_SHARE)
        is_long = window.waiting is not None and window.waiting > bound and self.limit > self.settings.minimum
        self._queued = self._queued + 1 if is_long else 0
        return is_long

    def _drain(self, window: LoadWindow) -> LimitDecision:
        """Lower the limit by what waits, except for the queue that keeps the batch full."""
        self._queued = 0
        waiting = window.waiting or 0.0
        # At most by half: the queue may be that of other clients.
        limit = self._bounded(max(self.limit * BACKOFF, (self.limit - waiting) * (1 + QUEUE_SHARE)))
        self._settle(min(limit, self.limit), best=0.0)
        return LimitDecision(self.limit, f"{waiting:.0f} requests wait in the engines")

    def _measure(self, window: LoadWindow) -> LimitDecision:
        """Take the throughput of a limit that has none yet, and step unless the limit is held."""
        self._best, self._best_limit = window.throughput, self.limit
        if self._hold > 0:
            return LimitDecision(self.limit, "measured")
        return self._step("first figure")

    def _judge_step(self, window: LoadWindow) -> LimitDecision:
        """Keep a step that brought a gain and take the next one, or take it back."""
        step = self.limit / self._best_limit - 1
        if window.throughput > self._best * (1 + GAIN_SHARE * step):
            gain = f"throughput rose to {window.throughput:.1f} {window.unit}"
            self._best, self._best_limit, self._doubts = window.throughput, self.limit, 0
            self._next_hold = HOLD_WINDOWS
            return self._step(gain)
        self._doubts += 1
        if self._doubts < 2:
            return LimitDecision(self.limit, "measured again, since throughput did not rise")
        self._factor = PROBE
        self._settle(self._best_limit, best=self._best)
        return LimitDecision(self.limit, "throughput did not rise with more requests")

    def _stay(self, window: LoadWindow) -> LimitDecision:
        """Hold the limit for some windows, then try one step up."""
        if window.throughput < self._best * COLLAPSE:
            self._best = window.throughput
            return LimitDecision(self.limit, "throughput fell, so it is measured again")
        # The mean of several windows is a better figure than the one that made the step.
        self._best += (window.throughput - self._best) / 4
        self._hold -= 1
        if self._hold > 0:
            return LimitDecision(self.limit, "held")
        return self._step("tries one step")

    def _step(self, reason: str) -> LimitDecision:
        """Raise the limit by one step, within the maximum."""
        limit = self._bounded(max(self.limit + 1, ceil(self.limit * self._factor)))
        if limit == self.limit:
            self._hold = MAX_HOLD_WINDOWS
            return LimitDecision(limit, "at the maximum")
        self.limit, self._doubts = limit, 0
        return LimitDecision(limit, reason)

    def _settle(self, limit: int, best: float) -> None:
        """Hold a limit. A best of 0 means that its throughput is not known and is measured next."""
        self.limit = self._best_limit = limit
        self._best, self._doubts = best, 0
        self._factor = PROBE
        self._hold = self._next_hold
        self._next_hold = min(MAX_HOLD_WINDOWS, self._next_hold * 2)

    def _bounded(self, limit: float) -> int:
        """Return a limit within the settings."""
        return max(self.settings.minimum, min(self.settings.maximum, int(limit)))
