"""The remediator: it sees the health of all servers, and deletes the pod that the policy chose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.fakes import FakeApiClient, FakeClock
from tests.helpers.pods import ready_pod
from tests.helpers.specs import body
from tests.helpers.status_inputs import NOW, inputs
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.fields import format_timestamp
from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.remediation.remediator import Remediator
from vllm_operator.status.assessment import Assessment, assess

KEY = Key("llm", "mistral")


class FakeProbes:
    """Return prepared counts of all servers."""

    def __init__(self, **unresponsive: int) -> None:
        self._counts = {Key("llm", name): (max(2, count), count) for name, count in unresponsive.items()}

    def counts(self) -> dict[Key, tuple[int, int]]:
        return self._counts


class Scene:
    """A remediator with an API server in memory that holds one pod."""

    def __init__(self, **unresponsive: int) -> None:
        self.api: Any = FakeApiClient()
        self.store = Store()
        probes: Any = FakeProbes(**unresponsive)
        self.server = self.api.hold(body())
        pod = ready_pod("a")
        pod["metadata"]["namespace"] = "llm"
        self.store.put("Pod", self.api.hold({"kind": "Pod", **pod}))
        self.deletions: list[str] = []
        events = EventRecorder(self.api, FakeClock())
        self.remediator = Remediator(self.api, self.store, probes, events, lambda: self.deletions.append("deleted"))

    def assessment(self, **changes: Any) -> Assessment:
        """Return the assessment of a server whose only replica has stalled."""
        found = inputs(ready_pod("a"), health={"a": ReplicaHealth("Stalled", "no progress")}, **changes)
        return assess(replace(found, snapshot=replace(found.snapshot, server=self.server)))


async def test_deleted_pod_is_cached_as_ending_and_recorded_with_its_number() -> None:
    scene = Scene()
    await scene.remediator.delete(KEY, "a", scene.assessment(stalled_restarts=(format_timestamp(NOW),)))

    assert ("delete", "Pod", "a") in scene.api.requests
    assert scene.deletions == ["deleted"]
    cached = scene.store.get("Pod", "llm", "a")
    assert cached is not None
    assert "deletionTimestamp" in cached["metadata"]
    (event,) = [sent for sent in scene.api.sent if isinstance(sent, dict) and sent.get("kind") == "Event"]
    assert event["reason"] == "EngineRestarted"
    assert "number 1 of 3 in an hour" in event["message"]


async def test_pod_that_is_gone_is_not_deleted() -> None:
    scene = Scene()
    await scene.remediator.delete(KEY, "b", scene.assessment())

    assert scene.api.writes == []
    assert scene.deletions == []


async def test_failed_deletion_is_raised_and_not_counted() -> None:
    scene = Scene()
    scene.api.errors["delete", "Pod"] = ApiError(503, "ServiceUnavailable", "later")

    with pytest.raises(ApiError, match="later"):
        await scene.remediator.delete(KEY, "a", scene.assessment())
    assert scene.deletions == []


def test_most_replicas_of_several_servers_block_a_deletion() -> None:
    others = {f"server-{number}": 2 for number in range(6)}
    alone, with_others = Scene(mistral=1), Scene(mistral=1, **others)

    assert "most replicas of all servers" not in alone.remediator.decide(alone.assessment()).note
    decision = with_others.remediator.decide(with_others.assessment())
    assert decision.delete is None
    assert decision.note
