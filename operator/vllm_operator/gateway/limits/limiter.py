"""Decide whether a request may start, by the limits of its key and model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from vllm_operator.api.gateway_access import Limit
from vllm_operator.gateway.limits.window import CountWindow

MAX_REQUEST_SECONDS = 7200.0
"""Age at which a request no longer counts as running: the call about its end may be lost with Envoy."""
MAX_COUNTERS = 200_000
"""Counters that are kept; each takes about 1 kB."""


@dataclass(frozen=True)
class RateDecision:
    """The answer about one request.

    Attributes:
        allowed: it may start.
        headers: headers for the client.
        body: JSON for a request that is refused; empty otherwise.
    """

    allowed: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass
class _Counter:
    requests: CountWindow = field(default_factory=CountWindow)
    tokens: CountWindow = field(default_factory=CountWindow)
    running: dict[str, float] = field(default_factory=dict)


class Limiter:
    """The counters of one agent. Every rule that matches a request applies, and all of them are checked first."""

    def __init__(self, limits: Sequence[Limit] = ()) -> None:
        self._rules: dict[tuple[str, str], list[Limit]] = {}
        self._counters: dict[tuple[str, str, str], _Counter] = {}
        self.configure(limits)

    def configure(self, limits: Sequence[Limit]) -> None:
        """Take new limits. Counters stay, so that a change of the spec gives nobody a new minute."""
        rules: dict[tuple[str, str], list[Limit]] = {}
        for limit in limits:
            rules.setdefault((limit.key, limit.model), []).append(limit)
        self._rules = rules

    def start(self, key: str, model: str, request: str, now: float, share: float = 1.0) -> RateDecision:
        """Count a request that starts, or refuse it.

        Args:
            key: id of the API key.
            model: name of the model.
            request: unique id of the request.
            now: a time in seconds.
            share: part of each limit that may be used.
        """
        matching = self._matching(key, model)
        refusals = [
            refusal for limit, counter in matching if (refusal := _refusal(limit, counter, now, share)) is not None
        ]
        if refusals:
            return _refused(max(refusals, key=lambda refusal: refusal[1]), self._headers(matching, now, share))
        # Two entries for one key and model share a counter, which counts once.
        for counter in _counting(matching, "requests_per_minute"):
            counter.requests.add(1, now)
        for counter in _counting(matching, "concurrent"):
            counter.running[request] = now
        return RateDecision(headers=self._headers(matching, now, share))

    def end(self, key: str, model: str, request: str, tokens: int, now: float) -> None:
        """Count the end of a request, and its tokens."""
        matching = self._matching(key, model)
        for _, counter in matching:
            counter.running.pop(request, None)
        for counter in _counting(matching, "tokens_per_minute") if tokens > 0 else ():
            counter.tokens.add(tokens, now)

    def _matching(self, key: str, model: str) -> list[tuple[Limit, _Counter]]:
        return [
            (limit, self._counter((f"{place[0]}/{place[1]}", key, limit.model)))
            for place in ((key, model), (key, "*"), ("*", model), ("*", "*"))
            for limit in self._rules.get(place, ())
        ]

    def _counter(self, place: tuple[str, str, str]) -> _Counter:
        # The counters stay in the order of their last use, so that the one that goes is of nobody who is active.
        counter = self._counters.pop(place, None)
        if counter is None:
            if len(self._counters) >= MAX_COUNTERS:
                self._counters.pop(next(iter(self._counters)))
            counter = _Counter()
        self._counters[place] = counter
        return counter

    def _headers(
        self, matching: Sequence[tuple[Limit, _Counter]], now: float, share: float
    ) -> tuple[tuple[str, str], ...]:
        """Return the x-ratelimit headers of the tightest limit of requests, and of tokens."""
        headers: list[tuple[str, str]] = []
        for unit in ("requests", "tokens"):
            rows = [
                (_left(most, window, share, now), most, window)
                for limit, counter in matching
                for most, window in (_limit_of(limit, counter, unit),)
                if most is not None
            ]
            if not rows:
                continue
            left, most, window = min(rows, key=lambda row: row[0])
            headers += [
                (f"x-ratelimit-limit-{unit}", str(most)),
                (f"x-ratelimit-remaining-{unit}", str(left)),
                (f"x-ratelimit-reset-{unit}", f"{math.ceil(window.seconds_until(0, now))}s"),
            ]
        return tuple(headers)


def _counting(matching: Sequence[tuple[Limit, _Counter]], unit: str) -> list[_Counter]:
    """Return each counter once whose limits have a number for a unit."""
    found = {id(counter): counter for limit, counter in matching if getattr(limit, unit) is not None}
    return list(found.values())


def _limit_of(limit: Limit, counter: _Counter, unit: str) -> tuple[int | None, CountWindow]:
    if unit == "requests":
        return limit.requests_per_minute, counter.requests
    return limit.tokens_per_minute, counter.tokens


def _left(most: int, window: CountWindow, share: float, now: float) -> int:
    window.expire(now)
    return max(0, _part(most, share) - window.total)


def _part(most: int, share: float) -> int:
    return max(1, math.floor(most * share))


def _refusal(limit: Limit, counter: _Counter, now: float, share: float) -> tuple[str, float] | None:
    """Return what is exceeded, and the seconds until it may no longer be; None when the request may start."""
    most = limit.requests_per_minute
    if most is not None and (delay := counter.requests.seconds_until(_part(most, share) - 1, now)):
        return f"{most} requests a minute", delay
    most = limit.tokens_per_minute
    if most is not None and (delay := counter.tokens.seconds_until(_part(most, share) - 1, now)):
        return f"{most} tokens a minute", delay
    most = limit.concurrent
    if most is not None and len(counter.running) >= _part(most, share):
        _forget_lost(counter, now)
        if len(counter.running) >= _part(most, share):
            return f"{most} requests at once", 1.0
    return None


def _forget_lost(counter: _Counter, now: float) -> None:
    for request, started in list(counter.running.items()):
        if now - started > MAX_REQUEST_SECONDS:
            del counter.running[request]


def _refused(refusal: tuple[str, float], headers: tuple[tuple[str, str], ...]) -> RateDecision:
    what, delay = refusal
    seconds = max(1, math.ceil(delay))
    message = f"the limit of {what} for this key is reached: try again in {seconds} s"
    error = {"message": message, "type": "RateLimitError", "param": None, "code": 429}
    retry = (("retry-after", str(seconds)), ("content-type", "application/json"))
    return RateDecision(False, (*retry, *headers), json.dumps({"error": error}))
