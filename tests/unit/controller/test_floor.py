"""A raised floor in the autoscaler, and one that an earlier process raised."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.api.replica_bounds import RaisedFloor, ReplicaBounds
from vllm_operator.controller.floor import ANNOTATION_RAISED, AUTOSCALER, raised_before, with_floor
from vllm_operator.desired.state import DesiredState, desired_state

SINCE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def desired(**fields: Any) -> DesiredState:
    return desired_state(body(autoscaling={"maxReplicas": 6, **fields}), frozenset())


def autoscaler(state: DesiredState) -> dict[str, Any]:
    return next(one.body for one in state.manifests if one.kind == AUTOSCALER)


def test_floor_raises_the_minimum_and_says_since_when() -> None:
    plain = desired()
    raised = autoscaler(with_floor(plain, RaisedFloor(4, SINCE, "200 requests")))

    assert raised["spec"]["minReplicas"] == 4
    assert raised["metadata"]["annotations"][ANNOTATION_RAISED] == "2026-03-02T08:00:00Z"
    assert raised["spec"] == {**autoscaler(plain)["spec"], "minReplicas": 4}


def test_floor_never_exceeds_the_maximum_and_never_lowers_the_minimum() -> None:
    assert autoscaler(with_floor(desired(), RaisedFloor(60, SINCE)))["spec"]["minReplicas"] == 6
    higher = desired(minReplicas=5)
    assert with_floor(higher, RaisedFloor(4, SINCE)).manifests == higher.manifests
    assert with_floor(higher, None) is higher


@pytest.mark.parametrize(
    ("minimum", "since", "expected"),
    [
        (4, "2026-03-02T08:00:00Z", RaisedFloor(4, SINCE)),
        (99, "2026-03-02T08:00:00Z", RaisedFloor(6, SINCE)),
        (1, "2026-03-02T08:00:00Z", None),
        (4, "", None),
        (4, "soon", None),
    ],
)
def test_floor_of_an_earlier_process_is_read_from_the_autoscaler(
    minimum: int, since: str, expected: RaisedFloor | None
) -> None:
    live = {"metadata": {"annotations": {ANNOTATION_RAISED: since}}, "spec": {"minReplicas": minimum}}

    assert raised_before(live, ReplicaBounds(1, 6)) == expected
    assert raised_before(None, ReplicaBounds(1, 6)) is None
