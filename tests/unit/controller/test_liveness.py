"""Report the states of the process from which it cannot recover."""

from __future__ import annotations

import pytest

from vllm_operator.controller.liveness import LONGEST_RECONCILE_SECONDS, liveness_failure


@pytest.mark.parametrize(
    ("ended", "longest", "expected"),
    [
        (False, 0.0, ""),
        (False, LONGEST_RECONCILE_SECONDS, ""),
        (False, LONGEST_RECONCILE_SECONDS + 1, "the reconcile of a server has not ended for 301 s"),
        (True, 0.0, "a task has ended"),
    ],
)
def test_only_an_ended_task_or_an_endless_reconcile_is_a_failure(ended: bool, longest: float, expected: str) -> None:
    assert liveness_failure(task_ended=ended, longest_reconcile=longest) == expected
