"""The figures of a measurement: percentiles of latency, time to the first token and per token, throughput."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vllm_operator.benchmark.records import MeasuredRequest

PERCENTILES = (50, 90, 95, 99)
MOST_ERRORS = 5
"""Kinds of errors that are listed."""


@dataclass(frozen=True)
class Distribution:
    """Mean and percentiles of a figure, in seconds."""

    count: int
    mean: float
    percentiles: dict[str, float]


@dataclass(frozen=True)
class StageFigures:
    """The figures of one stage.

    Attributes:
        seconds: from the first request to the last answer.
        in_flight: requests at once on average (Little's law: the sum of all latencies over the time).
        errors: message -> number, the most frequent first.
    """

    stage: str
    requests: int
    failed: int
    seconds: float
    in_flight: float
    requests_per_second: float
    output_tokens_per_second: float | None
    latency: Distribution | None
    first_token: Distribution | None
    per_token: Distribution | None
    errors: dict[str, int]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted values, interpolated as numpy does by default."""
    position = (len(values) - 1) * percent / 100
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def distribution(values: Sequence[float]) -> Distribution | None:
    """Return mean and percentiles; None without a value."""
    if not values:
        return None
    ordered = sorted(values)
    percentiles = {f"p{percent}": percentile(ordered, percent) for percent in PERCENTILES}
    return Distribution(len(ordered), sum(ordered) / len(ordered), percentiles)


def stage_figures(stage: str, requests: Sequence[MeasuredRequest]) -> StageFigures:
    """Return the figures of the requests of a stage."""
    answered = [request for request in requests if not request.error]
    seconds = _span(requests)
    errors = Counter(request.error for request in requests if request.error)
    return StageFigures(
        stage=stage,
        requests=len(requests),
        failed=len(requests) - len(answered),
        seconds=seconds,
        in_flight=sum(request.latency for request in requests) / seconds if seconds else 0.0,
        requests_per_second=len(answered) / seconds if seconds else 0.0,
        output_tokens_per_second=_token_rate(answered, seconds),
        latency=distribution([request.latency for request in answered]),
        first_token=distribution(_known(request.first_token for request in answered)),
        per_token=distribution(_known(request.seconds_per_token for request in answered)),
        errors=dict(errors.most_common(MOST_ERRORS)),
    )


def _span(requests: Sequence[MeasuredRequest]) -> float:
    """Return the seconds from the first request to the last answer."""
    begin = min((request.started for request in requests), default=0.0)
    return max((request.started + request.latency for request in requests), default=0.0) - begin


def _token_rate(answered: Sequence[MeasuredRequest], seconds: float) -> float | None:
    """Return the tokens a second; None when an answer was not counted."""
    counts = [request.output_tokens for request in answered]
    known = [count for count in counts if count is not None]
    return sum(known) / seconds if seconds and len(known) == len(counts) else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def turn_notes(requests: Sequence[MeasuredRequest]) -> list[str]:
    """Return, for each load of conversations, the time to the first token in first and in later turns.

    Later turns begin with text that the server has read already: the difference shows the prefix cache.
    """
    notes = []
    for stage in dict.fromkeys(request.stage for request in requests if request.turn):
        of_stage = [request for request in requests if request.stage == stage]
        first = distribution(_known(request.first_token for request in of_stage if request.turn == 1))
        later = distribution(_known(request.first_token for request in of_stage if request.turn > 1))
        if first and later:
            notes.append(
                f"{stage}: the time to the first token (p50) is {first.percentiles['p50']:.3f} s in first turns, "
                f"{later.percentiles['p50']:.3f} s in later ones"
            )
    return notes


def all_figures(requests: Sequence[MeasuredRequest]) -> list[StageFigures]:
    """Return the figures of each stage, in the order of the measurement."""
    stages = dict.fromkeys(request.stage for request in requests)
    return [stage_figures(stage, [one for one in requests if one.stage == stage]) for stage in stages]
