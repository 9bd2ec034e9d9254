"""The prober beside stand-in replicas whose engine freezes; its clock is turned by hand, completions take real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from vllm_operator.api.operations import CompletionMode
from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import ProbeTarget

KEY = Key("llm", "mistral")
POD = "pod-a"
WORDS = "/health answers 200, but a one-token completion got no answer within 1 s and no counter of the engine moved"


class Bench:
    """A prober that has seen one replica serve, and notes what it calls it."""

    def __init__(self, vllm: FakeVLLM) -> None:
        self.now = 1000.0
        self.seen: list[ReplicaHealth] = []
        self.target = ProbeTarget(KEY, POD, "uid", vllm.url, ("mistral-7b",), 10.0, "WhenSuspicious")
        self.verdicts: list[str] = []
        self.prober = ProbeManager(
            self._note,
            clock=lambda: self.now,
            timeout=2,
            deadline=1.0,
            poll=0.2,
            on_completion=self.verdicts.append,
        )

    def _note(self, _: Key) -> None:
        self.seen.append(self.health)

    @property
    def reasons(self) -> list[str]:
        return [health.reason for health in self.seen]

    @property
    def health(self) -> ReplicaHealth:
        return self.prober.health(KEY)[POD]

    async def watch(self, completion: CompletionMode = "WhenSuspicious", stalled: str = "") -> None:
        self.target = replace(self.target, synthetic_completion=completion, reported_stall=stalled)
        self.prober.sync(KEY, [self.target])
        await self.pass_time(0)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass, and let every probe and every completion end."""
        for _ in range(int(seconds * 2) + 1):
            self.prober.tick()
            await self.prober.settle()
            self.now += 0.5
        self.now -= 0.5


@pytest.fixture
async def bench(vllm: FakeVLLM) -> AsyncIterator[Bench]:
    made = Bench(vllm)
    yield made
    made.prober.stop()
    await made.prober.run()


async def test_frozen_engine_with_requests_is_stalled_within_a_minute(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(40)  # the completion's 20 s pass in no time here
    assert bench.reasons == ["Serving", "Stalled"]
    assert bench.health.message == WORDS
    assert bench.health.version == "0.32.0"
    assert bench.verdicts
    assert set(bench.verdicts) == {"Stalled"}


async def test_engine_that_goes_on_serves_within_a_minute(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(40)
    vllm.frozen = False
    await bench.pass_time(20)
    assert bench.reasons == ["Serving", "Stalled", "Serving"]
    assert bench.health.message == ""


async def test_stalled_engine_is_told_once_however_long_it_lasts(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(150)
    assert bench.reasons == ["Serving", "Stalled"]
    assert vllm.asked["/v1/completions"] >= 3
    assert vllm.hanging <= 1


async def test_busy_engine_is_never_asked(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.busy, vllm.held = True, 40
    await bench.watch("Always")
    await bench.pass_time(300)
    assert bench.reasons == ["Serving"]
    assert vllm.asked["/v1/completions"] == 0


async def test_idle_engine_is_asked_once_when_it_is_found(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    await bench.pass_time(300)
    assert len(vllm.completed) == 1


async def test_idle_engine_that_was_seen_to_start_is_not_asked(bench: Bench, vllm: FakeVLLM) -> None:
    await vllm.stop()
    await bench.watch()
    await vllm.start()
    await bench.pass_time(300)
    assert bench.reasons[-1] == "Serving"
    assert vllm.asked["/v1/completions"] == 0


async def test_engine_that_froze_before_anybody_watched_is_found(bench: Bench, vllm: FakeVLLM) -> None:
    """Its numbers tell of no requests, and the connections of those who wait were there at the first look."""
    vllm.frozen = True
    await bench.watch()
    await bench.pass_time(30)
    assert bench.reasons == ["Serving", "Stalled"]


async def test_always_asks_an_idle_engine_at_a_slow_pace(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch("Always")
    await bench.pass_time(300)
    assert 10 <= len(vllm.completed) <= 15
    assert bench.reasons == ["Serving"]


async def test_always_finds_an_engine_that_froze_idle(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch("Always")
    vllm.frozen = True
    await bench.pass_time(40)
    assert bench.reasons == ["Serving", "Stalled"]


async def test_never_looks_at_no_number_and_asks_nothing(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch("Never")
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(120)
    assert bench.reasons == ["Serving"]
    assert (vllm.asked["/metrics"], vllm.asked["/v1/completions"]) == (1, 0)


async def test_network_that_is_cut_while_an_engine_is_frozen_tells_of_the_network(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(40)
    vllm.delay = 60
    await bench.pass_time(30)
    assert bench.reasons == ["Serving", "Stalled", "Timeout"]
    vllm.delay = 0
    await bench.pass_time(15)
    assert bench.reasons[-1] == "Stalled", "what was known of the engine still holds"


async def test_network_that_is_cut_is_never_called_a_frozen_engine(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.held = 3
    await bench.watch()
    vllm.delay = 60
    await bench.pass_time(60)
    assert bench.reasons == ["Serving", "Timeout"]
    assert vllm.asked["/v1/completions"] == 0


async def test_container_that_begins_anew_is_no_longer_stalled(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    vllm.frozen, vllm.held = True, 3
    await bench.pass_time(40)
    await vllm.stop()
    await bench.pass_time(20)
    vllm.frozen, vllm.held = False, 0
    await vllm.start()
    await bench.pass_time(2)
    assert bench.reasons == ["Serving", "Stalled", "ConnectionRefused", "Serving"]


async def test_what_the_status_says_counts_until_the_replica_has_been_asked(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.frozen, vllm.held = True, 3
    await bench.watch(stalled="as told before")
    await bench.pass_time(60)
    assert [(health.reason, health.message, health.from_status) for health in bench.seen] == [
        ("Stalled", "as told before", True),
        ("Stalled", "as told before", False),
    ]


async def test_engine_that_went_on_while_nobody_watched_serves_soon(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch(stalled="as told before")
    await bench.pass_time(15)
    assert bench.reasons[0] == "Stalled"
    assert bench.reasons[-1] == "Serving"


async def test_replica_that_takes_no_completion_is_not_asked_again_soon(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.takes, vllm.frozen, vllm.held = set(), True, 3
    await bench.watch()
    await bench.pass_time(200)
    assert bench.reasons == ["Serving"]
    assert vllm.asked["/v1/completions"] == 1


async def test_removed_replica_has_its_completion_taken_back(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.frozen = True
    bench.prober = ProbeManager(bench._note, clock=lambda: bench.now, timeout=0.5, deadline=60.0)
    bench.prober.sync(KEY, [replace(bench.target, reported_stall="as told before")])
    bench.prober.tick()
    async with asyncio.timeout(5):
        while not vllm.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        bench.prober.sync(KEY, [])
        await bench.prober.settle()
        while vllm.hanging:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.given_up == 1


async def test_looking_at_the_numbers_costs_no_further_request(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.watch()
    await bench.pass_time(300)
    looks = vllm.asked["/metrics"] - 2  # one for the capacity, one after the completion of a replica that was found
    assert looks >= 10
    assert vllm.asked["/health"] + looks == vllm.asked["/v1/models"]


async def test_replica_that_exports_no_numbers_is_asked_for_its_health(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.status = {"/metrics": 404}
    await bench.watch()
    await bench.pass_time(300)
    assert bench.reasons == ["Serving"]
    assert vllm.asked["/health"] == vllm.asked["/v1/models"]
    assert vllm.asked["/metrics"] <= 3, "it is not tried at every probe"
