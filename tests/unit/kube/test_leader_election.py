"""Test that one process leads at a time, with clocks that the test moves."""

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
    """An API server with one Lease."""

    def __init__(self) -> None:
        self.held: Json | None = None
        self.unreachable = False
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
        if self.unreachable:
            raise NoAnswerError("Unreachable", "no answer")

    def _store(self, body: Json) -> Json:
        self.version += 1
        self.held = copy.deepcopy(body)
        self.held["metadata"]["resourceVersion"] = str(self.version)
        return self.held


class Election:
    """Processes on one clock, which moves to the first one that is due while all sleep."""

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
        elector = LeaderElector(self.server, "system", "operator", name, self.clock)  # type: ignore[arg-type]
        self.tasks[name] = asyncio.get_running_loop().create_task(elector.run())
        return elector

    def stop(self, name: str) -> None:
        self.tasks[name].cancel()

    async def until(self, condition: Callable[[], bool], within: float) -> float:
        """Let time pass until a condition holds; return the seconds that passed."""
        began = self.clock.now
        while True:
            for _ in range(20):
                future = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(future.set_result, None)
                await future
            if condition():
                return self.clock.now - began
            self.sleepers = [entry for entry in self.sleepers if not entry[1].done()]
            due = min((entry for entry in self.sleepers), key=lambda entry: entry[0])
            assert due[0] - began <= within, "not in time"
            self.clock.now = due[0]
            due[1].set_result(None)


@pytest.fixture
def election(monkeypatch: pytest.MonkeyPatch) -> Election:
    return Election(monkeypatch)


async def leader_and_standby(election: Election) -> tuple[LeaderElector, LeaderElector]:
    first = election.candidate("first")
    await election.until(first.is_held, 1)
    second = election.candidate("second")
    moment = election.clock.now + 30
    await election.until(lambda: election.clock.now > moment, 40)
    return first, second


async def test_one_process_leads_and_the_other_waits(election: Election) -> None:
    first, second = await leader_and_standby(election)

    assert first.is_held()
    assert not second.is_held()
    assert not second.acquired.is_set()


@pytest.mark.parametrize("run", range(20))
async def test_standby_leads_about_one_lease_duration_after_the_leader_dies(election: Election, run: int) -> None:
    _, second = await leader_and_standby(election)
    election.stop("first")

    seconds = await election.until(second.is_held, 60)

    assert LEASE_DURATION_SECONDS - module.RENEW_INTERVAL_SECONDS * 1.2 <= seconds <= LEASE_DURATION_SECONDS + 1.2


@pytest.mark.parametrize("run", range(20))
async def test_isolated_leader_stops_writing_4_seconds_before_another_leads(election: Election, run: int) -> None:
    first, second = await leader_and_standby(election)
    renewed = first._renewed_at
    election.stop("first")

    await election.until(second.is_held, 60)

    assert not first.is_held()
    assert election.clock.now - (renewed + RENEW_DEADLINE_SECONDS) >= 4


async def test_released_lease_is_taken_within_two_seconds(election: Election) -> None:
    first, second = await leader_and_standby(election)
    election.stop("first")
    await first.release()

    assert await election.until(second.is_held, 60) <= 2


async def test_leader_without_responses_gives_up(election: Election) -> None:
    first = election.candidate("first")
    await election.until(first.is_held, 1)
    election.server.unreachable = True

    seconds = await election.until(election.tasks["first"].done, 60)

    assert RENEW_DEADLINE_SECONDS - 2.4 <= seconds <= RENEW_DEADLINE_SECONDS + 2.4
    assert not first.is_held()


async def test_lease_of_another_process_is_not_released(election: Election) -> None:
    first, second = await leader_and_standby(election)
    election.stop("second")
    await second.release()

    assert election.server.held is not None
    assert election.server.held["spec"]["holderIdentity"] == "first"
    assert first.is_held()
