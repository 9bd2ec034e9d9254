"""Requeue results and their combination."""

from __future__ import annotations

import pytest

from vllm_operator.controller.requeue import Requeue


@pytest.mark.parametrize(
    ("candidates", "earliest"),
    [
        ((), Requeue.never()),
        ((Requeue.never(), Requeue.never()), Requeue.never()),
        ((Requeue.never(), Requeue.after(5)), Requeue.after(5)),
        ((Requeue.after(30), Requeue.after(5)), Requeue.after(5)),
        ((Requeue.after(5), Requeue.now()), Requeue.now()),
    ],
)
def test_earliest_candidate_counts(candidates: tuple[Requeue, ...], earliest: Requeue) -> None:
    assert Requeue.earliest(*candidates) == earliest
