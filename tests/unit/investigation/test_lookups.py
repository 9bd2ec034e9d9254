"""Lookups: late, rare, never many at once, and only while somebody asks."""

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
from vllm_operator.investigation.lookups import AGAIN_SECONDS, AT_ONCE, LookupRunner
from vllm_operator.investigation.stuck_objects import Lookup
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")
ASKED = Lookup("Pod", "events", "u1", "mistral-a", "", "create", 20.0)
MOUNT = Diagnosis("FailedMount", "no")


class Desk:
    """Answers questions, and notes who was asked and woken."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.answer: Diagnosis | ApiError = MOUNT
        self.asked: list[tuple[Lookup, Diagnosis | None]] = []
        self.woken: list[Key] = []
        self.lookups = LookupRunner(self.read, self.woken.append, self.clock)

    async def read(self, key: Key, question: Lookup, before: Diagnosis | None) -> Diagnosis:
        self.asked.append((question, before))
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer

    async def after(self, seconds: float) -> None:
        """Let time pass, and every task come to rest."""
        self.clock.now += seconds
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 0.001)
    async with working(Desk()) as desk:
        yield desk


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[Desk]:
    task = asyncio.create_task(desk.lookups.run())
    yield desk
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_state_that_passes_soon_is_never_looked_up(desk: Desk) -> None:
    desk.lookups.of(KEY, [ASKED])
    await desk.after(19)
    desk.lookups.of(KEY, [])
    await desk.after(60)
    assert desk.asked == []


async def test_answer_wakes_its_server_and_stays_known(desk: Desk) -> None:
    assert desk.lookups.of(KEY, [ASKED]) == {}
    await desk.after(20)
    assert desk.woken == [KEY]
    assert desk.lookups.of(KEY, [ASKED]) == {"u1": MOUNT}


async def test_same_answer_again_wakes_nobody_and_is_asked_for_rarely(desk: Desk) -> None:
    desk.lookups.of(KEY, [ASKED])
    await desk.after(20)
    for _ in range(int(AGAIN_SECONDS) - 1):
        await desk.after(1)
    assert len(desk.asked) == 1
    await desk.after(1)
    assert [before for _, before in desk.asked] == [None, MOUNT]
    await desk.after(AGAIN_SECONDS)
    assert len(desk.asked) == 2
    await desk.after(AGAIN_SECONDS)
    assert len(desk.asked) == 3
    assert desk.woken == [KEY]


async def test_new_answer_is_followed_closely_again(desk: Desk) -> None:
    desk.lookups.of(KEY, [ASKED])
    for _ in range(8):
        await desk.after(3600)
    desk.answer = Diagnosis("FailedMount", "another volume")
    await desk.after(3600)
    await desk.after(AGAIN_SECONDS)
    assert len(desk.asked) == 10
    assert desk.woken == [KEY, KEY]


async def test_another_run_is_another_question(desk: Desk) -> None:
    desk.lookups.of(KEY, [ASKED])
    await desk.after(20)
    assert desk.lookups.of(KEY, [replace(ASKED, run="start 2")]) == {}


async def test_what_cannot_be_read_is_asked_again_later(desk: Desk) -> None:
    desk.answer = ApiError(403, "Forbidden", "no")
    desk.lookups.of(KEY, [ASKED])
    await desk.after(20)
    desk.answer = MOUNT
    await desk.after(AGAIN_SECONDS)
    assert desk.lookups.of(KEY, [ASKED]) == {"u1": MOUNT}


async def test_many_questions_are_answered_a_few_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "TURN_SECONDS", 3600)
    desk.lookups.of(KEY, [replace(ASKED, uid=f"u{index}") for index in range(5 * AT_ONCE)])
    desk.clock.now += 60
    await desk.after(0)
    assert len(desk.asked) == AT_ONCE


async def test_server_that_is_gone_is_not_asked_about(desk: Desk) -> None:
    desk.lookups.of(KEY, [ASKED])
    desk.lookups.forget(KEY)
    await desk.after(60)
    assert (desk.asked, desk.woken) == ([], [])
