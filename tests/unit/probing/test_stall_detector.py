"""Probes of fake replicas with stalled engines. The tests turn the clock; completions take real time."""

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
MESSAGE = "/health answers 200, but a one-token completion got no answer within 1 s and no counter of the engine moved"


class Bench:
    """Probes of one replica, with a record of each change of its health."""

    def __init__(self, vllm: FakeVLLM) -> None:
        self.now = 1000.0
        self.seen: list[ReplicaHealth] = []
        self.target = ProbeTarget(KEY, POD, "uid", vllm.url, ("mistral-7b",), 10.0, "WhenSuspicious")
        self.verdicts: list[str] = []
        self.manager = ProbeManager(
            self._on_change,
            clock=lambda: self.now,
            timeout=2,
            deadline=1.0,
            poll=0.2,
            on_completion=self.verdicts.append,
        )

    def _on_change(self, _: Key) -> None:
        self.seen.append(self.health)

    @property
    def reasons(self) -> list[str]:
        return [health.reason for health in self.seen]

    @property
    def health(self) -> ReplicaHealth:
        return self.manager.health(KEY)[POD]

    async def start(self, completion: CompletionMode = "WhenSuspicious", stalled: str = "") -> None:
        self.target = replace(self.target, synthetic_completion=completion, reported_stall=stalled)
        self.manager.sync(KEY, [self.target])
        await self.pass_time(0)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass, and let every probe and every completion end."""
        for _ in range(int(seconds * 2) + 1):
            self.manager._scheduler.start_due()
            await self.manager.wait_until_idle()
            self.now += 0.5
        self.now -= 0.5


@pytest.fixture
async def bench(vllm: FakeVLLM) -> AsyncIterator[Bench]:
    made = Bench(vllm)
    yield made
    made.manager.stop()
    await made.manager.run()


async def test_engine_with_requests_and_no_progress_is_stalled_within_a_minute(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(40)  # the completion's 20 s pass in no time here
    assert bench.reasons == ["Serving", "Stalled"]
    assert bench.health.message == MESSAGE
    assert bench.health.version == "0.32.0"
    assert bench.verdicts
    assert set(bench.verdicts) == {"Stalled"}


async def test_engine_that_recovers_serves_within_a_minute(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(40)
    vllm.stalled = False
    await bench.pass_time(20)
    assert bench.reasons == ["Serving", "Stalled", "Serving"]
    assert bench.health.message == ""


async def test_stall_is_reported_once_however_long_it_lasts(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(150)
    assert bench.reasons == ["Serving", "Stalled"]
    assert vllm.requests["/v1/completions"] >= 3
    assert vllm.waiting <= 1


async def test_busy_engine_gets_no_completion(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.busy, vllm.engine_requests = True, 40
    await bench.start("Always")
    await bench.pass_time(300)
    assert bench.reasons == ["Serving"]
    assert vllm.requests["/v1/completions"] == 0


async def test_idle_engine_is_tested_once_at_first(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    await bench.pass_time(300)
    assert len(vllm.completed) == 1


async def test_idle_engine_that_was_seen_to_start_is_not_tested(bench: Bench, vllm: FakeVLLM) -> None:
    await vllm.stop()
    await bench.start()
    await vllm.start()
    await bench.pass_time(300)
    assert bench.reasons[-1] == "Serving"
    assert vllm.requests["/v1/completions"] == 0


async def test_engine_that_stalled_before_the_operator_started_is_detected(bench: Bench, vllm: FakeVLLM) -> None:
    """Its counters show no requests, and the connections of waiting clients were open at the first sample."""
    vllm.stalled = True
    await bench.start()
    await bench.pass_time(30)
    assert bench.reasons == ["Serving", "Stalled"]


async def test_always_tests_an_idle_engine_at_long_intervals(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start("Always")
    await bench.pass_time(300)
    assert 10 <= len(vllm.completed) <= 15
    assert bench.reasons == ["Serving"]


async def test_always_detects_an_engine_that_stalled_while_idle(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start("Always")
    vllm.stalled = True
    await bench.pass_time(40)
    assert bench.reasons == ["Serving", "Stalled"]


async def test_never_takes_no_sample_and_requests_no_completion(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start("Never")
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(120)
    assert bench.reasons == ["Serving"]
    assert (vllm.requests["/metrics"], vllm.requests["/v1/completions"]) == (1, 0)


async def test_network_cut_during_a_stall_is_reported_as_timeout(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(40)
    vllm.delay = 60
    await bench.pass_time(30)
    assert bench.reasons == ["Serving", "Stalled", "Timeout"]
    vllm.delay = 0
    await bench.pass_time(15)
    assert bench.reasons[-1] == "Stalled", "the stall is still known"


async def test_network_cut_is_never_reported_as_stalled(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.engine_requests = 3
    await bench.start()
    vllm.delay = 60
    await bench.pass_time(60)
    assert bench.reasons == ["Serving", "Timeout"]
    assert vllm.requests["/v1/completions"] == 0


async def test_restarted_container_is_no_longer_stalled(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(40)
    await vllm.stop()
    await bench.pass_time(20)
    vllm.stalled, vllm.engine_requests = False, 0
    await vllm.start()
    await bench.pass_time(2)
    assert bench.reasons == ["Serving", "Stalled", "ConnectionRefused", "Serving"]


async def test_stall_from_the_status_counts_until_the_engine_is_tested(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.start(stalled="as reported before")
    await bench.pass_time(60)
    assert [(health.reason, health.message, health.from_status) for health in bench.seen] == [
        ("Stalled", "as reported before", True),
        ("Stalled", "as reported before", False),
    ]


async def test_engine_that_recovered_while_the_operator_was_down_serves_soon(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start(stalled="as reported before")
    await bench.pass_time(15)
    assert bench.reasons[0] == "Stalled"
    assert bench.reasons[-1] == "Serving"


async def test_replica_that_refuses_completions_is_not_tested_again_soon(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.accepts, vllm.stalled, vllm.engine_requests = set(), True, 3
    await bench.start()
    await bench.pass_time(200)
    assert bench.reasons == ["Serving"]
    assert vllm.requests["/v1/completions"] == 1


async def test_completion_of_a_removed_replica_is_cancelled(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.stalled = True
    bench.manager = ProbeManager(bench._on_change, clock=lambda: bench.now, timeout=0.5, deadline=60.0)
    bench.manager.sync(KEY, [replace(bench.target, reported_stall="as reported before")])
    bench.manager._scheduler.start_due()
    async with asyncio.timeout(5):
        while not vllm.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        bench.manager.sync(KEY, [])
        await bench.manager.wait_until_idle()
        while vllm.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert vllm.cancelled == 1


async def test_samples_cost_no_further_request(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    await bench.pass_time(300)
    samples = vllm.requests["/metrics"] - 2  # one for the capacity, one after the first completion
    assert samples >= 10
    assert vllm.requests["/health"] + samples == vllm.requests["/v1/models"]


async def test_replica_without_counters_is_probed_by_its_health(bench: Bench, vllm: FakeVLLM) -> None:
    vllm.status = {"/metrics": 404}
    await bench.start()
    await bench.pass_time(300)
    assert bench.reasons == ["Serving"]
    assert vllm.requests["/health"] == vllm.requests["/v1/models"]
    assert vllm.requests["/metrics"] <= 3, "it is not tried at every probe"


async def test_paused_engine_is_never_stalled_and_a_stall_after_its_pause_is_detected(
    bench: Bench, vllm: FakeVLLM
) -> None:
    vllm.body = {"/is_paused": b'{"is_paused":true}'}
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(200)
    assert bench.reasons == ["Serving"]
    assert set(bench.verdicts) == {"Paused"}
    assert vllm.requests["/v1/completions"] <= 4
    vllm.body = {}
    await bench.pass_time(100)
    assert bench.reasons == ["Serving", "Stalled"]


async def test_stalled_engine_that_turns_out_to_be_paused_serves(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(40)
    vllm.body = {"/is_paused": b'{"is_paused":true}'}
    await bench.pass_time(30)
    assert bench.reasons == ["Serving", "Stalled", "Serving"]


async def test_stalled_engines_of_one_namespace_delay_no_other(vllm: FakeVLLM) -> None:
    changed: list[Key] = []
    async with FakeVLLM() as greedy:
        greedy.stalled = vllm.stalled = True
        manager = ProbeManager(changed.append, timeout=2, deadline=1.0, poll=0.2)
        for index in range(90):
            key = Key("greedy", f"server-{index // 30}")
            manager.sync(key, [*_targets(greedy, key, index // 30 * 30, 30)])
        running = asyncio.create_task(manager.run())
        async with asyncio.timeout(30):
            while greedy.waiting < 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            victim = Key("other", "server")
            manager.sync(victim, _targets(vllm, victim, 0, 1))
            while manager.health(victim)["pod-0"].from_status or not vllm.requests["/v1/completions"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        manager.stop()
        await running
    assert vllm.requests["/v1/completions"] >= 1


def _targets(server: FakeVLLM, key: Key, first: int, count: int) -> list[ProbeTarget]:
    """Return replicas that the status reports as stalled, so that each of them is tested at once."""
    return [
        ProbeTarget(key, f"pod-{index}", f"uid-{key}-{index}", server.url, ("mistral-7b",), 0.2, "Always", "before")
        for index in range(first, first + count)
    ]


async def test_stalled_engine_is_tested_more_rarely_the_longer_it_lasts(bench: Bench, vllm: FakeVLLM) -> None:
    await bench.start()
    vllm.stalled, vllm.engine_requests = True, 3
    await bench.pass_time(80)
    at_first = vllm.requests["/v1/completions"]
    await bench.pass_time(200)
    later = vllm.requests["/v1/completions"]
    await bench.pass_time(160)
    assert at_first >= 3
    assert 2 <= vllm.requests["/v1/completions"] - later <= 4
    vllm.stalled = False
    await bench.pass_time(60)
    assert bench.reasons == ["Serving", "Stalled", "Serving"]
