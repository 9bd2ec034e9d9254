"""Lookups: delayed, rate limited, and only while an object is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.errors import ApiError
from vllm_operator.investigation import lookups
from vllm_operator.investigation.lookups import READS_PER_TURN, REPEAT_SECONDS, LookupRunner
from vllm_operator.investigation.stuck_objects import Lookup
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")
LOOKUP = Lookup("Pod", "events", "u1", "mistral-a", "", "create", 20.0)
MOUNT = Diagnosis("FailedMount", "no")


class Scene:
    """A lookup runner with prepared results; remembers the reads and the keys that were enqueued."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.result: Diagnosis | ApiError = MOUNT
        self.reads: list[tuple[Lookup, Diagnosis | None]] = []
        self.enqueued: list[Key] = []
        self.lookups = LookupRunner(self.run_lookup, self.enqueued.append, self.clock)

    async def run_lookup(self, key: Key, lookup: Lookup, previous: Diagnosis | None) -> Diagnosis:
        self.reads.append((lookup, previous))
        if isinstance(self.result, ApiError):
            raise self.result
        return self.result

    async def after(self, seconds: float) -> None:
        """Advance the clock, and let every task run until it waits."""
        self.clock.now += seconds
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 0.001)
    async with run_in_background(Scene()) as scene:
        yield scene


@asynccontextmanager
async def run_in_background(scene: Scene) -> AsyncIterator[Scene]:
    task = asyncio.create_task(scene.lookups.run())
    yield scene
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_state_that_ends_soon_is_never_looked_up(scene: Scene) -> None:
    scene.lookups.results(KEY, [LOOKUP])
    await scene.after(19)
    scene.lookups.results(KEY, [])
    await scene.after(60)
    assert scene.reads == []


async def test_new_result_enqueues_its_server_and_is_kept(scene: Scene) -> None:
    assert scene.lookups.results(KEY, [LOOKUP]) == {}
    await scene.after(20)
    assert scene.enqueued == [KEY]
    assert scene.lookups.results(KEY, [LOOKUP]) == {"u1": MOUNT}


async def test_same_result_again_enqueues_nothing_and_doubles_the_delay(scene: Scene) -> None:
    scene.lookups.results(KEY, [LOOKUP])
    await scene.after(20)
    for _ in range(int(REPEAT_SECONDS) - 1):
        await scene.after(1)
    assert len(scene.reads) == 1
    await scene.after(1)
    assert [previous for _, previous in scene.reads] == [None, MOUNT]
    await scene.after(REPEAT_SECONDS)
    assert len(scene.reads) == 2
    await scene.after(REPEAT_SECONDS)
    assert len(scene.reads) == 3
    assert scene.enqueued == [KEY]


async def test_new_result_resets_the_delay(scene: Scene) -> None:
    scene.lookups.results(KEY, [LOOKUP])
    for _ in range(8):
        await scene.after(3600)
    scene.result = Diagnosis("FailedMount", "another volume")
    await scene.after(3600)
    await scene.after(REPEAT_SECONDS)
    assert len(scene.reads) == 10
    assert scene.enqueued == [KEY, KEY]


async def test_another_state_is_another_lookup(scene: Scene) -> None:
    scene.lookups.results(KEY, [LOOKUP])
    await scene.after(20)
    assert scene.lookups.results(KEY, [replace(LOOKUP, state="start 2")]) == {}


async def test_failed_lookup_is_repeated(scene: Scene) -> None:
    scene.result = ApiError(403, "Forbidden", "no")
    scene.lookups.results(KEY, [LOOKUP])
    await scene.after(20)
    scene.result = MOUNT
    await scene.after(REPEAT_SECONDS)
    assert scene.lookups.results(KEY, [LOOKUP]) == {"u1": MOUNT}


async def test_many_lookups_run_a_few_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 3600)
    scene.lookups.results(KEY, [replace(LOOKUP, uid=f"u{index}") for index in range(5 * READS_PER_TURN)])
    scene.clock.now += 60
    await scene.after(0)
    assert len(scene.reads) == READS_PER_TURN


async def test_lookups_of_a_server_that_is_gone_end(scene: Scene) -> None:
    scene.lookups.results(KEY, [LOOKUP])
    scene.lookups.forget(KEY)
    await scene.after(60)
    assert (scene.reads, scene.enqueued) == ([], [])


OTHER = Key("another", "qwen")


class SlowScene(Scene):
    """A scene in which the reads of one namespace are never answered."""

    async def run_lookup(self, key: Key, lookup: Lookup, previous: Diagnosis | None) -> Diagnosis:
        if key == KEY:
            await asyncio.Event().wait()
        return await super().run_lookup(key, lookup, previous)


def many(count: int) -> list[Lookup]:
    """Return lookups of different objects."""
    return [replace(LOOKUP, uid=f"u{index}") for index in range(count)]


async def test_slow_reads_of_one_namespace_do_not_delay_those_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 0.001)
    async with run_in_background(SlowScene()) as scene:
        scene.lookups.results(KEY, many(500))
        await scene.after(20)
        scene.lookups.results(OTHER, [LOOKUP])
        await scene.after(20)
        assert scene.lookups.results(OTHER, [LOOKUP]) == {"u1": MOUNT}


async def test_namespaces_share_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 3600)
    async with run_in_background(Scene()) as scene:
        scene.lookups.results(KEY, many(500))
        scene.clock.now += 1
        scene.lookups.results(OTHER, [replace(LOOKUP, name="other")])
        scene.clock.now += 60
        await scene.after(0)
        assert len(scene.reads) == READS_PER_TURN
        assert "other" in [lookup.name for lookup, _ in scene.reads]


async def test_read_without_an_answer_ends_and_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 0.001)
    monkeypatch.setattr(lookups, "READ_SECONDS", 0.005)
    async with run_in_background(SlowScene()) as scene:
        scene.lookups.results(KEY, [LOOKUP])
        await scene.after(20)
        assert scene.lookups.results(KEY, [LOOKUP]) == {"u1": Diagnosis("", "")}
