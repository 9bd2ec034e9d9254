"""The state of the metrics API that the operator serves to HorizontalPodAutoscalers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricsApiState:
    """The state of the metrics API.

    Attributes:
        reason: one CamelCase word; `Served` when it is.
        message: why it is not, and what to do.
    """

    reason: str
    message: str = ""

    @property
    def is_served(self) -> bool:
        """The API server passes requests on to the operator."""
        return self.reason == "Served"


SERVED = MetricsApiState("Served")
STARTING = MetricsApiState("MetricsAPIStarting", "the operator registers its metrics API")
WAYS_OUT = (
    "set autoscaling.source to operator, so that the operator scales by itself, or to prometheus-adapter or keda where "
    "one of them is installed"
)
"""Remedies where the operator serves no metrics API."""
NOT_SERVED = MetricsApiState(
    "MetricsAPIDisabled",
    "the operator serves no metrics API: it serves single namespaces, runs outside of the cluster, or was started with "
    f"--no-metrics-api: {WAYS_OUT}",
)
