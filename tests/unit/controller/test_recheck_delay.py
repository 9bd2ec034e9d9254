"""Causes whose end no watch event reports are looked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.specs import MODEL, body
from vllm_operator.api.problem import Problem
from vllm_operator.apply.result import ApplyResult
from vllm_operator.controller.recheck_delay import (
    MISSING_REFERENCE_SECONDS,
    REFERENCES_SECONDS,
    REFUSED_SECONDS,
    TIMER_SECONDS,
    recheck_delay,
)
from vllm_operator.controller.reference_resolver import ReferenceCheck
from vllm_operator.controller.requeue import Requeue
from vllm_operator.desired.state import desired_state

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROBLEM = Problem("Refused", "no")
TOKEN = {"model": {**MODEL, "tokenSecretRef": {"name": "hub"}}}


@pytest.mark.parametrize(
    ("spec", "missing", "problems", "expected"),
    [
        ({}, (), (), Requeue.never()),
        (TOKEN, (), (), Requeue.after(REFERENCES_SECONDS)),
        (TOKEN, (), (PROBLEM,), Requeue.after(REFUSED_SECONDS)),
        (TOKEN, (PROBLEM,), (PROBLEM,), Requeue.after(MISSING_REFERENCE_SECONDS)),
    ],
)
def test_delay_follows_the_most_urgent_cause(spec: Any, missing: Any, problems: Any, expected: Requeue) -> None:
    desired = desired_state(body(**spec), frozenset())

    assert recheck_delay(desired, ReferenceCheck(missing), ApplyResult(problems=problems), NOW) == expected


def test_next_change_of_the_bounds_wakes_the_server() -> None:
    window = {"start": "0 10 * * *", "end": "0 12 * * *", "minReplicas": 3}
    desired = desired_state(body(autoscaling={"maxReplicas": 4, "schedule": [window]}), frozenset(), now=NOW)

    requeue = recheck_delay(desired, ReferenceCheck(), ApplyResult(), NOW)

    assert requeue == Requeue.after(3600 + TIMER_SECONDS)
    late = recheck_delay(desired, ReferenceCheck(), ApplyResult(), NOW + timedelta(hours=2))
    assert late == Requeue.after(TIMER_SECONDS), "its time has come"
