"""Service level objectives of a server: `spec.monitoring.slo`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.fields import CelRule, Model

LONGEST_SECONDS = 7680
"""Largest bound of vLLM's latency histograms, in seconds."""

Fraction = Annotated[
    float,
    Field(ge=0.5, lt=1),
    CelRule(
        "double(self) >= 0.5 && double(self) < 1.0",
        "an objective is a fraction of at least 0.5 and less than 1: write 0.999 for 99.9 %",
    ),
]
"""Share of good requests."""

_THRESHOLD = (
    "It must be a bound of vLLM's histogram, since Prometheus knows only how many requests stayed below each bound."
)


class AvailabilityObjective(Model):
    """The share of requests that do not end in a server error."""

    objective: Fraction = Field(
        description="Fraction of the requests that must not end in a server error (5xx), such as 0.999. Requests that "
        "clients got wrong (4xx) do not count."
    )


class LatencyObjective(Model):
    """The share of requests that stay within a time."""

    objective: Fraction = Field(description="Fraction of the requests that must stay within the threshold.")
    threshold_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] = Field(
        description=f"Seconds that a good request takes at most. {_THRESHOLD}"
    )


class ServiceLevelObjectives(Model):
    """Objectives, of which recording rules and burn-rate alerts are made in the PrometheusRule of the server."""

    availability: AvailabilityObjective | None = Field(
        default=None, description="Requests that do not end in a server error."
    )
    time_to_first_token: LatencyObjective | None = Field(
        default=None, description="Seconds from the arrival of a request to its first token."
    )
    time_per_output_token: LatencyObjective | None = Field(
        default=None,
        description="Seconds between two tokens of an answer, as the average of a request; before vLLM 0.12 each pair "
        "of tokens counts.",
    )
    latency: LatencyObjective | None = Field(
        default=None, description="Seconds from the arrival of a request to its end."
    )
    window_days: Annotated[int, Field(ge=7, le=90)] = Field(
        default=30,
        description="Days for which the error budget is meant, 7 to 90. The alerts fire when 2 % of it is spent in an "
        "hour, 5 % in 6 hours, or 10 % in 3 days: with 30 days, these are burn rates of 14.4, 6 and 1.",
    )
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=30, description="Fewest requests in the window of an alert; with fewer ones it does not fire."
    )
    alerts: bool = Field(
        default=True,
        description="Create burn-rate alerts. False: only recording rules, for those who let Sloth or others alert.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.availability) || has(self.timeToFirstToken) || has(self.timePerOutputToken) || has(self.latency)",
            "slo has no objective: set availability, timeToFirstToken, timePerOutputToken or latency, or remove slo",
        ),
    )
