"""The bookkeeping of a batch."""

from __future__ import annotations

import random

import pytest

from vllm_operator.client.batch.flow import LEAST_WINDOW, Flow
from vllm_operator.client.batch.results import BatchResult


def result(position: int) -> BatchResult:
    """Return a result at a position."""
    return BatchResult(position, None, ValueError("x"))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("limit", [1, 10, 300])
def test_outstanding_requests_are_bounded_and_none_is_lost(ordered: bool, limit: int) -> None:
    flow = Flow(lambda: limit, ordered=ordered)
    rng = random.Random(limit)
    flying: list[int] = []
    taken: list[int] = []
    highest = position = 0
    while len(taken) < 5000:
        while position < 5000 and flow.has_room() and flow.may_send():
            flow.take()
            flow.in_flight += 1
            flying.append(position)
            position += 1
        highest = max(highest, flow.outstanding)
        assert flow.in_flight <= limit
        flow.in_flight -= 1
        flow.finish(result(flying.pop(rng.randrange(len(flying)))))
        while (found := flow.pop()) is not None:
            taken.append(found.position)

    assert sorted(taken) == list(range(5000))
    assert not ordered or taken == sorted(taken)
    assert highest <= max(LEAST_WINDOW, 16 * limit)
    assert flow.outstanding == flow.in_flight == 0


def test_limit_may_change() -> None:
    limits = [2]
    flow = Flow(lambda: limits[0], ordered=False)
    flow.in_flight = 2
    assert not flow.may_send()

    limits[0] = 3

    assert flow.may_send()
    assert flow.limit == 3
