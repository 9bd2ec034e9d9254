"""Checks of `spec.autoscaling`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_problems, spec_warnings

POLICY = {"type": "Pods", "value": 2, "periodSeconds": 60}
PROMETHEUS = {"serverAddress": "http://prometheus:9090"}


def scaled(engine: dict[str, Any] | None = None, **fields: Any) -> Any:
    return spec(autoscaling={"maxReplicas": 4, **fields}, engine=engine or {})


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        ({"scaleUp": {"selectPolicy": "Disabled", "policies": [POLICY]}}, "scaleUp: selectPolicy: Disabled"),
        ({"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}, "autoscaling.paused"),
    ],
)
def test_contradictory_behavior_is_refused(behavior: dict[str, Any], words: str) -> None:
    (problem,) = spec_problems(scaled(behavior=behavior))

    assert problem.reason == "ContradictoryBehavior"
    assert words in problem.message


@pytest.mark.parametrize(
    "behavior", [None, {}, {"scaleDown": {"selectPolicy": "Disabled"}}, {"scaleUp": {"policies": [POLICY]}}]
)
def test_consistent_behavior_is_accepted(behavior: Any) -> None:
    assert spec_problems(scaled(behavior=behavior)) == ()


def test_target_at_the_limit_of_the_engine_is_refused() -> None:
    (problem,) = spec_problems(scaled({"extraArgs": ["--max-num-seqs=50"]}, targetRunningRequests=50))

    assert problem.reason == "UnreachableTarget"


def test_hidden_metrics_are_named() -> None:
    warnings = spec_warnings(scaled({"extraArgs": ["--disable-log-stats"]}))

    assert any("--disable-log-stats hides the load" in warning for warning in warnings)


def test_keda_that_cannot_wake_is_named() -> None:
    asleep = {"source": "keda", "minReplicas": 0, "keda": PROMETHEUS}

    assert any("cannot wake" in warning for warning in spec_warnings(scaled(**asleep)))
    asleep["keda"] = {**PROMETHEUS, "triggers": [{"type": "cron"}]}
    assert not any("cannot wake" in warning for warning in spec_warnings(scaled(**asleep)))
    assert not any("cannot wake" in warning for warning in spec_warnings(spec()))
