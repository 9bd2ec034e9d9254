"""Causes whose end no watch event reports are looked for again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, body
from vllm_operator.api.problem import Problem
from vllm_operator.apply.result import ApplyResult
from vllm_operator.controller.recheck_delay import (
    MISSING_REFERENCE_SECONDS,
    REFERENCES_SECONDS,
    REFUSED_SECONDS,
    recheck_delay,
)
from vllm_operator.controller.reference_resolver import ReferenceCheck
from vllm_operator.controller.requeue import Requeue
from vllm_operator.desired.state import desired_state

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

    assert recheck_delay(desired, ReferenceCheck(missing), ApplyResult(problems=problems)) == expected
