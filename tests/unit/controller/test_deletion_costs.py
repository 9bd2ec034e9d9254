"""A scale-down removes the replicas with the least to do, and nothing is written at rest."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.controller.deletion_costs import (
    MAX_MARKS,
    NO_CHANGES,
    SCALE_DOWN_NEAR,
    CostChanges,
    DeletionCosts,
    cost_changes,
    expected_removals,
)
from vllm_operator.errors import ApiError
from vllm_operator.informers.pod_fields import DELETION_COST
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")


def pod(name: str, *, ready: bool = True, marked: bool = False, ending: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if marked:
        metadata["annotations"] = {DELETION_COST: "-1"}
    if ending:
        metadata["deletionTimestamp"] = "2026-03-02T08:00:00Z"
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


PODS = [pod("a"), pod("b"), pod("c")]


def autoscaler(reason: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "AbleToScale", "status": "True", "reason": reason}]}}


@pytest.mark.parametrize(
    ("current", "wanted", "scaler", "removals"),
    [
        (3, 1, None, 2),
        (3, 3, None, 0),
        (1, 3, None, 0),
        (3, 0, None, 3),
        (3, None, None, 0),
        (3, None, autoscaler("ReadyForNewScale"), 0),
        (3, None, autoscaler(SCALE_DOWN_NEAR), 1),
        (1, None, autoscaler(SCALE_DOWN_NEAR), 0),
    ],
)
def test_scale_down_is_expected_from_the_spec_or_the_autoscaler(
    current: int, wanted: int | None, scaler: Any, removals: int
) -> None:
    snapshot = Snapshot(deployment={"spec": {"replicas": current}}, autoscaler=scaler)

    assert expected_removals(snapshot, wanted) == removals


def test_nothing_is_removed_from_a_server_without_a_deployment() -> None:
    assert expected_removals(Snapshot(), 1) == 0


@pytest.mark.parametrize(
    ("pods", "loads", "removals", "changes"),
    [
        (PODS, {"a": 4.0, "b": 0.0, "c": 2.0}, 1, CostChanges(mark=("b",))),
        (PODS, {"a": 4.0, "b": 0.0, "c": 2.0}, 2, CostChanges(mark=("b", "c"))),
        (PODS, {"a": 4.0, "b": 0.0, "c": 2.0}, 0, NO_CHANGES),
        # All go: the choice does not matter but for the last one.
        (PODS, {"a": 4.0, "b": 0.0, "c": 2.0}, 3, CostChanges(mark=("b", "c"))),
        (PODS, {"a": 1.0, "b": 1.0, "c": 1.0}, 1, NO_CHANGES),
        (PODS, {}, 1, NO_CHANGES),
        # An unknown load counts as busy.
        (PODS, {"c": 0.0}, 2, CostChanges(mark=("c",))),
        # Kubernetes removes what is not Ready first.
        ([*PODS, pod("d", ready=False)], {"a": 1.0, "b": 0.0, "c": 2.0}, 1, NO_CHANGES),
        ([*PODS, pod("d", ready=False)], {"a": 1.0, "b": 0.0, "c": 2.0}, 2, CostChanges(mark=("b",))),
        ([*PODS, pod("d", ending=True)], {"a": 1.0, "b": 0.0, "c": 2.0}, 1, CostChanges(mark=("b",))),
        # A mark from before moves with the load, and stays where the load is the same.
        ([pod("a", marked=True), pod("b")], {"a": 3.0, "b": 0.0}, 1, CostChanges(mark=("b",), clear=("a",))),
        ([pod("a", marked=True), pod("b")], {"a": 0.0, "b": 0.0}, 1, NO_CHANGES),
        ([pod("a", marked=True), pod("b")], {"a": 0.0, "b": 5.0}, 1, NO_CHANGES),
    ],
)
def test_least_loaded_replicas_are_marked(pods: Any, loads: Any, removals: int, changes: CostChanges) -> None:
    assert cost_changes(pods, loads, removals) == changes


def test_writes_before_a_scale_down_are_bounded() -> None:
    pods = [pod(f"p{number:03}") for number in range(200)]
    loads = {f"p{number:03}": float(number) for number in range(200)}

    assert len(cost_changes(pods, loads, 150).mark) == MAX_MARKS


class FakeApi:
    """An API client and a cache in one: it keeps what was sent."""

    def __init__(self, error: ApiError | None = None) -> None:
        self.error = error
        self.patches: list[tuple[str, Any]] = []
        self.cached: list[Any] = []

    async def merge_patch(self, kind: Any, namespace: str, name: str, patch: Any, manager: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.patches.append((name, patch["metadata"]["annotations"][DELETION_COST]))
        return {"metadata": {"name": name}}

    def put(self, kind: str, body: Any) -> None:
        self.cached.append(body)


SNAPSHOT = Snapshot(deployment={"spec": {"replicas": 2}}, pods=(pod("a", marked=True), pod("b")))


async def test_marks_are_written_and_cached() -> None:
    api: Any = FakeApi()
    await DeletionCosts(api, api).prepare(KEY, SNAPSHOT, 1, {"a": 3.0, "b": 0.0})

    assert sorted(api.patches) == [("a", None), ("b", "-1")]
    assert len(api.cached) == 2


async def test_nothing_is_written_at_rest() -> None:
    api: Any = FakeApi()
    await DeletionCosts(api, api).prepare(KEY, SNAPSHOT, 2, {"a": 3.0, "b": 0.0})

    assert api.patches == []


async def test_refused_mark_does_not_hold_back_the_scale_down() -> None:
    api: Any = FakeApi(ApiError(403, "Forbidden", "no"))

    await DeletionCosts(api, api).prepare(KEY, SNAPSHOT, 1, {"a": 3.0, "b": 0.0})

    assert api.cached == []
