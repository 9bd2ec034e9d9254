"""Objectives that vLLM's histograms cannot show are refused, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.monitored_servers import server
from vllm_operator.validation.checks import spec_problems


def problems(slo: dict[str, Any], *arguments: str) -> list[str]:
    """Return the messages about a server with these objectives."""
    spec = server(monitoring={"slo": slo}, engine={"extraArgs": list(arguments)}).spec
    return [problem.message for problem in spec_problems(spec)]


@pytest.mark.parametrize(
    ("field", "threshold", "neighbours"),
    [
        ("timeToFirstToken", 2, "1 or 2.5"),
        ("timePerOutputToken", 0.06, "0.05 or 0.075"),
        ("latency", 25.5, "20 or 30"),
        ("latency", 0.1, "0.3"),
        ("timeToFirstToken", 7680, "2560"),
    ],
)
def test_threshold_between_bounds_is_refused(field: str, threshold: float, neighbours: str) -> None:
    [message] = problems({field: {"objective": 0.99, "thresholdSeconds": threshold}})

    assert message == (
        f"spec.monitoring.slo.{field}.thresholdSeconds: {threshold:g} is no bound of vLLM's histogram: use "
        f"{neighbours}, or add the bound by --custom-histogram-buckets (vLLM 0.32 and later)"
    )


@pytest.mark.parametrize(
    ("field", "threshold"), [("timeToFirstToken", 2.5), ("timePerOutputToken", 0.075), ("latency", 30)]
)
def test_bound_is_accepted(field: str, threshold: float) -> None:
    assert problems({field: {"objective": 0.99, "thresholdSeconds": threshold}}) == []


def test_bound_that_the_flag_adds_is_accepted_and_the_removed_one_is_not() -> None:
    flag = '--custom-histogram-buckets={"time_to_first_token": [1, 2, 3]}'

    assert problems({"timeToFirstToken": {"objective": 0.99, "thresholdSeconds": 2}}, flag) == []
    [message] = problems({"timeToFirstToken": {"objective": 0.99, "thresholdSeconds": 2.5}}, flag)
    assert "use 2 or 3" in message


def test_vllm_without_metrics_can_have_no_objectives() -> None:
    slo = {"availability": {"objective": 0.999}}

    [message] = problems(slo, "--disable-log-stats")
    assert message.startswith("spec.engine.extraArgs[0]: --disable-log-stats removes the metrics")
    assert problems(slo, "--seed=1") == []
