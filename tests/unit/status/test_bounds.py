"""The bounds of the replicas in the status."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.helpers.status_inputs import inputs, status_of
from vllm_operator.api.replica_bounds import BoundsInForce, RaisedFloor, ReplicaBounds
from vllm_operator.status.bounds import bounds_status, floor_message

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)


def test_status_shows_the_bounds_and_their_next_change() -> None:
    given = inputs(bounds=BoundsInForce(ReplicaBounds(4, 10), NOW, LATER, ReplicaBounds(1, 10)))

    assert status_of(given)["autoscaling"] == {
        "minReplicas": 4,
        "maxReplicas": 10,
        "next": {"time": "2026-03-02T18:00:00Z", "minReplicas": 1, "maxReplicas": 10},
    }


def test_change_that_is_not_known_is_left_out() -> None:
    assert "next" not in (bounds_status(inputs(bounds=BoundsInForce(ReplicaBounds(4, 10), NOW, LATER))) or {})
    assert bounds_status(inputs()) is None
    assert "autoscaling" not in status_of(inputs())


def test_raised_floor_is_shown() -> None:
    given = inputs(bounds=BoundsInForce(ReplicaBounds(1, 10), NOW), floor=RaisedFloor(4, NOW))

    assert (bounds_status(given) or {})["raisedMinReplicas"] == 4
    assert floor_message(inputs()) == ""
