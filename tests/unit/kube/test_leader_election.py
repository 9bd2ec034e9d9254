"""One leader at a time, by clocks that are moved by hand."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.kube import leader_election as module
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.leader_election import LEASE_DURATION_SECONDS, RENEW_DEADLINE_SECONDS, LeaderElector

Json = dict[str, Any]


class FakeLeases:
    """An API server that holds one Lease."""

    def __init__(self) -> None:
        self.held: Json | None = None
        self.gone = False
        self.version = 0

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self._answer()
        return copy.deepcopy(self.held)

    async def create(self, kind: Kind, namespace: str, body: Json) -> Json:
        self._answer()
        if self.held is not None:
            raise ApiError(409, "AlreadyExists", "it exists")
        return self._store(body)

    async def replace(self, kind: Kind, body: Json) -> Json:
        self._answer()
        if self.held is None or body["metadata"]["resourceVersion"] != self.held["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "it has changed")
        return self._store(body)

    def _answer(self) -> None:
        if self.gone:
            raise NoAnswerError("Unreachable", "no answer")

    def _store(self, body: Json) -> Json:
        self.version += 1
        self.held = copy.deepcopy(body)
        self.held["metadata"]["resourceVersion"] = str(self.version)
        return self.held


class Play:
    """Candidates on one clock; sleeping moves it to the candidate that is due first."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.server = FakeLeases()
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        monkeypatch.setattr(module.asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.clock.now + seconds, future))
        await future

    def candidate(self, name: str) -> LeaderElector:
        lease = LeaderElector(self.server, "system", "operator", name, self.clock)  # type: ignore[arg-type]
        self.tasks[name] = asyncio.get_running_loop().create_task(lease.run())
        return lease

    def kill(self, name: str) -> None:
        self.tasks[name].cancel()

    async def until(self, holds: Callable[[], bool], within: float) -> float:
        """Let time pass until it holds; the seconds that passed."""
        began = self.clock.now
        while True:
            for _ in range(20):
                future = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(future.set_result, None)
                await future
            if holds():
                return self.clock.now - began
            self.sleepers = [entry for entry in self.sleepers if not entry[1].done()]
            due = min((entry for entry in self.sleepers), key=lambda entry: entry[0])
            assert due[0] - began <= within, "not in time"
            self.clock.now = due[0]
            due[1].set_result(None)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    return Play(monkeypatch)


async def pair(play: Play) -> tuple[LeaderElector, LeaderElector]:
    first = play.candidate("first")
    await play.until(first.is_held, 1)
    second = play.candidate("second")
    moment = play.clock.now + 30
    await play.until(lambda: play.clock.now > moment, 40)
    return first, second


async def test_one_leads_and_the_other_waits(play: Play) -> None:
    first, second = await pair(play)

    assert first.is_held()
    assert not second.is_held()
    assert not second.acquired.is_set()


@pytest.mark.parametrize("run", range(20))
async def test_after_the_leaders_death_the_standby_leads_in_little_more_than_the_leases_duration(
    play: Play, run: int
) -> None:
    _, second = await pair(play)
    play.kill("first")

    seconds = await play.until(second.is_held, 60)

    assert LEASE_DURATION_SECONDS - module.RENEW_INTERVAL_SECONDS * 1.2 <= seconds <= LEASE_DURATION_SECONDS + 1.2


@pytest.mark.parametrize("run", range(20))
async def test_leader_that_is_cut_off_stops_writing_long_before_another_leads(play: Play, run: int) -> None:
    first, second = await pair(play)
    renewed = first._renewed_at
    play.kill("first")

    await play.until(second.is_held, 60)

    assert not first.is_held()
    assert play.clock.now - (renewed + RENEW_DEADLINE_SECONDS) >= 4


async def test_released_lease_is_taken_within_two_seconds(play: Play) -> None:
    first, second = await pair(play)
    play.kill("first")
    await first.release()

    assert await play.until(second.is_held, 60) <= 2


async def test_leader_without_answers_ends(play: Play) -> None:
    first = play.candidate("first")
    await play.until(first.is_held, 1)
    play.server.gone = True

    seconds = await play.until(play.tasks["first"].done, 60)

    assert RENEW_DEADLINE_SECONDS - 2.4 <= seconds <= RENEW_DEADLINE_SECONDS + 2.4
    assert not first.is_held()


async def test_what_is_not_ours_is_not_released(play: Play) -> None:
    first, second = await pair(play)
    play.kill("second")
    await second.release()

    assert play.server.held is not None
    assert play.server.held["spec"]["holderIdentity"] == "first"
    assert first.is_held()
