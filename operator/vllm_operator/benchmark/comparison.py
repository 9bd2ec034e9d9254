"""Compare two measurements, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vllm_operator.benchmark.figures import Distribution, StageFigures
from vllm_operator.benchmark.report import Report

SETTINGS = ("model", "version", "generator", "prompt_words", "output_tokens", "shared_words")
"""Parts of a report's description that make two measurements unlike."""

SAME = 0.02
"""Relative difference below which two figures count as the same: less than what one run differs from the next."""


def _of(name: str, percentile: str) -> Callable[[StageFigures], float | None]:
    def read(figures: StageFigures) -> float | None:
        found: Distribution | None = getattr(figures, name)
        return found.percentiles[percentile] if found else None

    return read


FIGURES: dict[str, tuple[Callable[[StageFigures], float | None], bool]] = {
    "requests/s": (lambda figures: figures.requests_per_second, True),
    "tokens/s": (lambda figures: figures.output_tokens_per_second, True),
    "latency p50": (_of("latency", "p50"), False),
    "latency p99": (_of("latency", "p99"), False),
    "first token p50": (_of("first_token", "p50"), False),
    "first token p99": (_of("first_token", "p99"), False),
    "per token p50": (_of("per_token", "p50"), False),
    "failed": (lambda figures: float(figures.failed), False),
}
"""Name of a figure -> how to read it, and whether more is better."""


@dataclass(frozen=True)
class Difference:
    """One figure of a stage in both measurements; `change` is relative to the first, None when that is 0."""

    stage: str
    figure: str
    before: float
    after: float
    change: float | None
    verdict: str


def compare(before: Report, after: Report) -> tuple[list[Difference], list[str]]:
    """Return the differences of the stages that both have, and what makes the measurements unlike."""
    first = {figures.stage: figures for figures in before.figures}
    second = {figures.stage: figures for figures in after.figures}
    found: list[Difference] = []
    for stage in first:
        if stage in second:
            found += _stage_differences(first[stage], second[stage])
    notes = [f"only the first has the load {stage}" for stage in first if stage not in second]
    notes += [f"only the second has the load {stage}" for stage in second if stage not in first]
    return found, notes + _unlike(before, after)


def _stage_differences(before: StageFigures, after: StageFigures) -> Iterator[Difference]:
    for name, (read, more) in FIGURES.items():
        old, new = read(before), read(after)
        if old is not None and new is not None:
            yield _difference(before.stage, name, old, new, more)


def _unlike(before: Report, after: Report) -> list[str]:
    return [
        f"they differ in {key}: {before.about.get(key)} and {after.about.get(key)}"
        for key in SETTINGS
        if before.about.get(key) != after.about.get(key)
    ]


def _difference(stage: str, name: str, old: float, new: float, more_is_better: bool) -> Difference:
    change = (new - old) / old if old else None
    if old == new or (change is not None and abs(change) < SAME):
        verdict = "same"
    else:
        verdict = "better" if (new > old) == more_is_better else "worse"
    return Difference(stage, name, old, new, change, verdict)
