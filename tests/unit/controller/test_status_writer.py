"""The status writer: one apply for a changed status, a merge patch for fields of other managers, and Events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.fakes import FakeApiClient, FakeClock
from tests.helpers.pods import ready_pod
from tests.helpers.specs import body
from tests.helpers.status_inputs import inputs, status_of
from vllm_operator.api.names import UNREADABLE
from vllm_operator.controller.status_writer import (
    UNREADABLE_PAUSE_SECONDS,
    UNREADABLE_WAIT_SECONDS,
    StatusWriter,
    status_merge_patch,
)
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.status.assessment import Assessment, assess

KEY = Key("llm", "mistral")


class Scene:
    """A status writer with an API server in memory."""

    def __init__(self) -> None:
        self.api: Any = FakeApiClient()
        self.store = Store()
        self.server = self.api.hold(body())
        self.store.put("VLLMServer", self.server)
        self.writer = StatusWriter(self.api, self.store, EventRecorder(self.api, FakeClock()))

    def assessment(self, **changes: Any) -> Assessment:
        """Return the assessment of a server with one ready replica."""
        found = inputs(ready_pod("a"), **changes)
        return assess(replace(found, snapshot=replace(found.snapshot, server=self.server)))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_changed_status_is_applied_and_cached(scene: Scene) -> None:
    assessment = scene.assessment()

    assert await scene.writer.write(KEY, assessment)
    assert scene.api.objects["VLLMServer", "mistral"]["status"] == status_of(assessment.inputs)
    cached = scene.store.get("VLLMServer", "llm", "mistral")
    assert cached is not None
    assert cached["status"]["phase"] == "Serving"
    assert [sent["reason"] for sent in scene.api.sent if sent.get("kind") == "Event"] == ["Available"]


async def test_unchanged_status_is_not_written(scene: Scene) -> None:
    previous = status_of(scene.assessment().inputs)

    assert await scene.writer.write(KEY, scene.assessment(previous=previous))
    assert scene.api.requests == []


async def test_every_built_status_is_reported_for_metrics(scene: Scene) -> None:
    reported: list[tuple[Any, Any]] = []
    events = EventRecorder(scene.api, FakeClock())
    writer = StatusWriter(
        scene.api, scene.store, events, on_status=lambda server, status: reported.append((server, status))
    )
    previous = status_of(scene.assessment().inputs)

    await writer.write(KEY, scene.assessment(previous=previous))
    assert reported == [(scene.server, previous)]


async def test_server_that_is_gone_gets_no_status_and_no_event(scene: Scene) -> None:
    scene.api.errors["apply status", "VLLMServer"] = ApiError(404, "NotFound", "gone")

    assert not await scene.writer.write(KEY, scene.assessment())
    assert [kind for _, kind, _ in scene.api.writes] == ["VLLMServer"]


async def test_refused_write_is_raised(scene: Scene) -> None:
    scene.api.errors["apply status", "VLLMServer"] = ApiError(403, "Forbidden", "no")

    with pytest.raises(ApiError, match="no"):
        await scene.writer.write(KEY, scene.assessment())


async def test_status_of_a_replaced_server_is_refused_by_its_uid(scene: Scene) -> None:
    assert await scene.writer.write(KEY, scene.assessment())
    sent = next(sent for sent in scene.api.sent if sent.get("kind") == "VLLMServer")

    assert sent["metadata"]["uid"] == scene.server["metadata"]["uid"]


@pytest.mark.parametrize(
    ("desired", "live", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({}, {"a": 2}, {"a": None}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, {"a": {"c": None}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": 3}, {"a": {"b": 1}}),
    ],
)
def test_merge_patch_turns_live_into_desired(
    desired: dict[str, Any], live: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert status_merge_patch(desired, live) == patch


async def test_servers_that_cannot_be_read_are_written_one_at_a_time(scene: Scene) -> None:
    unreadable = {**scene.server, UNREADABLE: "it is nested too deeply"}
    delays: list[float | None] = []
    apply = scene.api.apply

    async def slow_apply(*args: Any, **options: Any) -> Any:
        delays.append(scene.writer.delay(unreadable))
        delays.append(scene.writer.delay(scene.server))
        return await apply(*args, **options)

    scene.api.apply = slow_apply
    assert scene.writer.delay(unreadable) is None
    await scene.writer.write(KEY, unreadable_assessment(scene, unreadable))

    assert delays == [UNREADABLE_WAIT_SECONDS, None]
    assert scene.writer.delay(unreadable) is None


async def test_failed_status_of_a_server_that_cannot_be_read_pauses_all_of_them(scene: Scene) -> None:
    unreadable = {**scene.server, UNREADABLE: "it is nested too deeply"}
    scene.api.errors["apply status", "VLLMServer"] = ApiError(504, "Timeout", "request did not complete")

    with pytest.raises(ApiError):
        await scene.writer.write(KEY, unreadable_assessment(scene, unreadable))

    assert scene.writer.delay(unreadable) == pytest.approx(UNREADABLE_PAUSE_SECONDS, abs=5)
    assert scene.writer.delay(scene.server) is None


def unreadable_assessment(scene: Scene, server: dict[str, Any]) -> Assessment:
    """Return the assessment of a server that cannot be read."""
    assessment = scene.assessment()
    found = assessment.inputs
    return assess(replace(found, snapshot=replace(found.snapshot, server=server)))
