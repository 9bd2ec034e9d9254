"""Schedules of thousands of fake replicas, some of them silent, with a clock that the tests turn; a few on loopback."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, target, until
from vllm_operator.probing import prober
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.scheduler import CONCURRENCY
from vllm_operator.probing.targets import ProbeTarget

INTERVAL = 5.0
TIMEOUT = 10.0
STEP = 0.1
QUICK = 0.01


class FakeFleet:
    """Replicas without a network: each answers after its own number of seconds, or never.

    Attributes:
        delays: base URL -> seconds until it answers; those that need longer than the timeout are silent.
        probed: base URL -> times of its probes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.delays: dict[str, float] = {}
        self.probed: defaultdict[str, list[float]] = defaultdict(list)
        self.most_at_once = 0
        self._waiting: dict[asyncio.Future[None], float] = {}
        self.manager = ProbeManager(lambda key: None, clock=lambda: self.now)
        monkeypatch.setattr(prober, "new_session", FakeSession)
        monkeypatch.setattr(prober, "probe", self._probe)

    async def _probe(self, session: object, url: str, *known: Any, **_: Any) -> ReplicaHealth:
        self.probed[url].append(self.now)
        delay = self.delays.get(url, QUICK)
        answered = asyncio.get_running_loop().create_future()
        self._waiting[answered] = self.now + min(delay, TIMEOUT)
        self.most_at_once = max(self.most_at_once, len(self._waiting))
        await answered
        return replace(known[-1], reason="Timeout" if delay > TIMEOUT else "Serving")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in tenths of a second."""
        end = self.now + seconds
        while self.now < end:
            await self._settle()
            self.now += STEP

    async def _settle(self) -> None:
        """Run probes until none can start: one that ends may leave a place for another."""
        while True:
            self.manager._scheduler.start_due()
            await _turns()
            if not self._answer():
                return
            await _turns()

    def _answer(self) -> int:
        due = [answered for answered, at in self._waiting.items() if at <= self.now + QUICK]
        for answered in due:
            del self._waiting[answered]
            answered.set_result(None)
        return len(due)

    def add(self, count: int) -> list[str]:
        """Probe `count` replicas and return their pods."""
        targets = [
            ProbeTarget(KEY, f"http://{index}", f"uid-{index}", f"http://{index}", (), INTERVAL)
            for index in range(count)
        ]
        self.manager.sync(KEY, targets)
        return [target.pod for target in targets]

    def reasons(self, pods: list[str]) -> set[str]:
        """Return the reasons of these replicas."""
        health = self.manager.health(KEY)
        return {health[pod].reason for pod in pods}

    def longest_gap(self, pods: list[str], since: float) -> float:
        """Return the longest time between two probes of one of these."""
        gaps = []
        for pod in pods:
            times = [since, *[at for at in self.probed[pod] if at >= since], self.now]
            gaps.append(max(after - before for before, after in pairwise(times)))
        return max(gaps)


async def _turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


class FakeSession:
    """A session without connections."""

    async def close(self) -> None:
        """Nothing."""


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> FakeFleet:
    return FakeFleet(monkeypatch)


async def test_probes_are_spread_over_the_interval(fleet: FakeFleet):
    pods = fleet.add(2000)
    await fleet.pass_time(2 * INTERVAL)
    begun = fleet.now
    await fleet.pass_time(INTERVAL)
    times = [at for pod in pods for at in fleet.probed[pod] if at >= begun]
    assert abs(len(times) - 2000) <= 80
    slots = [round((at - begun) / STEP) for at in times]
    assert max(slots.count(slot) for slot in set(slots)) < 2 * 2000 * STEP / INTERVAL


async def test_sudden_silence_of_half_is_seen_and_delays_no_other(fleet: FakeFleet):
    pods = fleet.add(2000)
    await fleet.pass_time(2 * INTERVAL)
    gone, others = pods[:1000], pods[1000:]
    cut = fleet.now
    fleet.delays = dict.fromkeys(gone, 3600.0)
    await fleet.pass_time(INTERVAL + TIMEOUT + 1 + TIMEOUT + 1)  # the slot, the timeout, and both again to confirm it
    assert fleet.reasons(gone) == {"Timeout"}
    await fleet.pass_time(60)
    assert fleet.reasons(others) == {"Serving"}
    assert fleet.longest_gap(others, cut) <= INTERVAL + 2 * STEP
    assert fleet.longest_gap(gone, cut + 30) <= 2 * (INTERVAL + TIMEOUT)


async def test_silence_of_all_is_seen_within_a_minute_and_so_is_its_end(fleet: FakeFleet):
    pods = fleet.add(2000)
    await fleet.pass_time(2 * INTERVAL)
    fleet.delays = dict.fromkeys(pods, 3600.0)
    await fleet.pass_time(59)
    assert fleet.reasons(pods) == {"Timeout"}
    fleet.delays = {}
    await fleet.pass_time(30)
    assert fleet.reasons(pods) == {"Serving"}


async def test_slow_replicas_delay_no_other(fleet: FakeFleet):
    pods = fleet.add(2000)
    await fleet.pass_time(2 * INTERVAL)
    slow, others = pods[:1000], pods[1000:]
    begun = fleet.now
    fleet.delays = dict.fromkeys(slow, 9.0)
    await fleet.pass_time(60)
    assert fleet.reasons(pods) == {"Serving"}
    assert fleet.longest_gap(others, begun) <= INTERVAL + 2 * STEP
    assert fleet.longest_gap(slow, begun) <= 2 * INTERVAL + 9 + 2 * STEP


async def test_thousands_of_new_replicas_are_not_probed_all_at_once(fleet: FakeFleet):
    pods = fleet.add(2000)
    await fleet.pass_time(1)
    assert fleet.reasons(pods) == {"Serving"}
    assert fleet.most_at_once == CONCURRENCY


async def test_silent_replicas_do_not_delay_others():
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FakeVLLM()) for _ in range(12)]
        for silent in servers[:9]:
            silent.delay = 60
        manager = ProbeManager(lambda key: None, timeout=60, concurrency=3)
        manager.sync(KEY, [target(server, f"pod-{index}", interval=0.2) for index, server in enumerate(servers)])
        running = asyncio.create_task(manager.run())
        await until(lambda: all(server.requests["/health"] for server in servers))
        before = servers[-1].requests["/health"]
        # The silent ones keep their places for a minute: a replica that waits for one of these is probed late.
        await until(lambda: servers[-1].requests["/health"] - before >= 4, seconds=30)
        manager.stop()
        await running
