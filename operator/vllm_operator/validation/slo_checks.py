"""Check the objectives of a server against the histograms that its vLLM exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import extra_flags
from vllm_operator.vllm.flags import Flag
from vllm_operator.vllm.histogram_bounds import (
    BOUNDS_FLAG,
    FIRST_TOKEN,
    LATENCY,
    OUTPUT_TOKEN,
    histogram_bounds,
)

INVALID = "InvalidObjective"
HISTOGRAMS = {
    "timeToFirstToken": ("time_to_first_token", FIRST_TOKEN),
    "timePerOutputToken": ("time_per_output_token", OUTPUT_TOKEN),
    "latency": ("latency", LATENCY),
}
"""Field of an objective -> its attribute, and the histogram that it is read from."""


def thresholds_are_bounds(spec: Spec) -> Iterator[Problem]:
    """Refuse a threshold between two bounds: the next lower or higher one would be another objective."""
    slo = spec.monitoring.slo
    for field, (attribute, family) in HISTOGRAMS.items():
        objective = getattr(slo, attribute, None)
        bounds = histogram_bounds(spec, family) if objective else None
        if objective and bounds and objective.threshold_seconds not in bounds:
            threshold = objective.threshold_seconds
            yield Problem(
                INVALID,
                f"spec.monitoring.slo.{field}.thresholdSeconds: {threshold:g} is no bound of vLLM's histogram: use "
                f"{_neighbours(threshold, bounds)}, or add the bound by {BOUNDS_FLAG} (vLLM 0.32 and later)",
            )


def _neighbours(threshold: float, bounds: Sequence[float]) -> str:
    below = [bound for bound in bounds if bound < threshold]
    above = [bound for bound in bounds if bound > threshold]
    return " or ".join(f"{bound:g}" for bound in (*below[-1:], *above[:1]))


def statistics_are_exported(spec: Spec) -> Iterator[Problem]:
    """Refuse objectives of a vLLM that exports no metrics: no alert could ever fire."""
    if spec.monitoring.slo is None:
        return
    flag = last_flag(extra_flags(spec), "--disable-log-stats")
    if flag is not None and not flag.negated:
        yield Problem(
            INVALID,
            f"spec.engine.extraArgs[{flag.position}]: --disable-log-stats removes the metrics that monitoring.slo "
            "needs: remove one of the two",
        )


def last_flag(flags: Sequence[Flag], name: str) -> Flag | None:
    """Return the last flag of a name, which is the one that counts."""
    return next((flag for flag in reversed(flags) if flag.name == name), None)


CHECKS = (thresholds_are_bounds, statistics_are_exported)
