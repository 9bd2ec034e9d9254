"""A change of a single busy replica waits until it is idle, and not longer than the spec allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.controller.idle_wait import held_until_idle
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.informers.snapshot import Snapshot

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BUSY, IDLE = {"mistral-a": 2.0}, {"mistral-a": 0.0}


class FakeState:
    """The part of a server's state that the wait uses."""

    held_since: datetime | None = None


def state(shm: str = "1Gi", *, waits: bool = True, **spec: Any) -> DesiredState:
    rollout = {"waitForIdle": waits, "waitForIdleSeconds": 60}
    return desired_state(body(sharedMemory=shm, rollout=rollout, **spec), frozenset())


def deployment(desired: DesiredState) -> dict[str, Any]:
    return next(one.body for one in desired.manifests if one.kind == "Deployment")


def snapshot(replicas: int = 1, available: int = 1) -> Snapshot:
    live = deployment(state())
    live["spec"]["replicas"] = replicas
    live["status"] = {"availableReplicas": available}
    return Snapshot(deployment=live, pods=({"metadata": {"name": "mistral-a"}},))


def shared_memory(desired: DesiredState) -> str:
    volumes = deployment(desired)["spec"]["template"]["spec"]["volumes"]
    return next(str(one["emptyDir"]["sizeLimit"]) for one in volumes if one["name"] == "shm")


def test_change_of_a_busy_replica_waits_and_is_carried_out_at_the_end() -> None:
    memory: Any = FakeState()
    held = held_until_idle(memory, snapshot(), state("2Gi"), BUSY, NOW)
    later = held_until_idle(memory, snapshot(), state("2Gi"), BUSY, NOW + timedelta(seconds=59))
    last = held_until_idle(memory, snapshot(), state("2Gi"), BUSY, NOW + timedelta(seconds=60))

    assert held.is_held
    assert later.is_held
    assert shared_memory(held) == "1Gi"
    assert deployment(held) == deployment(later), "nothing is written while it waits"
    assert not last.is_held
    assert shared_memory(last) == "2Gi"


def test_idle_replica_is_replaced_at_once() -> None:
    memory: Any = FakeState()
    held_until_idle(memory, snapshot(), state("2Gi"), BUSY, NOW)

    found = held_until_idle(memory, snapshot(), state("2Gi"), IDLE, NOW)

    assert not found.is_held
    assert memory.held_since is None


def test_unknown_load_counts_as_busy() -> None:
    memory: Any = FakeState()

    assert held_until_idle(memory, snapshot(), state("2Gi"), {}, NOW).is_held


@pytest.mark.parametrize(
    ("desired", "objects"),
    [
        (state("2Gi", waits=False), snapshot()),
        (state(), snapshot()),
        (state("2Gi", replicas=2), snapshot()),
        (state("2Gi"), snapshot(replicas=2)),
        (state("2Gi"), snapshot(available=0)),
        (state("2Gi"), Snapshot()),
    ],
    ids=["not asked for", "no change of the pods", "scaled up", "several replicas", "does not serve", "new"],
)
def test_nothing_else_waits(desired: DesiredState, objects: Snapshot) -> None:
    memory: Any = FakeState()

    assert held_until_idle(memory, objects, desired, BUSY, NOW) is desired
