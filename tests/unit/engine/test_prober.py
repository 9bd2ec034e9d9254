"""The prober against servers on loopback; its clock is turned by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import pytest

from tests.support.fake_vllm import FakeVLLM
from vllm_operator.engine.prober import Prober
from vllm_operator.engine.timing import ProbeTarget

KEY = "llm/mistral"
INTERVAL = 10.0


class Bench:
    """A prober whose time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.changes: list[str] = []
        self.prober = Prober(self.changes.append, clock=lambda: self.now, timeout=0.3)

    async def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass in steps of half a second, and every probe end."""
        for _ in range(int(seconds * 2) + 1):
            self.prober.tick()
            await self.prober.settle()
            self.now += 0.5
        self.now -= 0.5

    def reason(self, pod: str = "pod-a") -> str:
        return self.prober.health(KEY)[pod].reason


@pytest.fixture
async def vllm() -> AsyncIterator[FakeVLLM]:
    async with FakeVLLM() as server:
        yield server


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.prober.stop()
    await made.prober.run()


def target(server: FakeVLLM, pod: str = "pod-a", uid: str = "", interval: float = INTERVAL) -> ProbeTarget:
    return ProbeTarget(KEY, pod, uid or f"uid-{pod}", server.url, ("mistral-7b",), interval)


async def test_new_replica_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY]


async def test_only_changes_are_told(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(100)
    assert bench.changes == [KEY]
    assert 9 <= vllm.asked["/health"] <= 12
    assert vllm.asked["/metrics"] == 1


async def test_capacity_is_asked_again_after_ten_minutes(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm, interval=60)])
    await bench.pass_time(700)
    assert vllm.asked["/metrics"] == 2


async def test_replica_that_becomes_ready_is_seen_within_a_second(bench: Bench, vllm: FakeVLLM):
    await vllm.stop()
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(5)
    assert bench.reason() == "ConnectionRefused"
    await vllm.start()
    await bench.pass_time(1)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY, KEY]


async def test_single_failed_probe_of_a_serving_replica_does_not_count(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.status = {"/health": 500}
    while vllm.asked["/health"] < 2:
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    vllm.status = {}
    await bench.pass_time(1)
    assert vllm.asked["/health"] == 3
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY]


@pytest.mark.parametrize("failure", ["ConnectionRefused", "Timeout", "HTTPError", "ModelNotServed", "Unauthorized"])
async def test_failure_that_a_second_probe_confirms_counts(bench: Bench, vllm: FakeVLLM, failure: str):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    await spoil(vllm, failure)
    await bench.pass_time(1.5 * INTERVAL + 1)
    assert bench.reason() == failure
    assert bench.changes == [KEY, KEY]


async def test_replica_that_lost_its_readiness_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    """Who waits for the answer is told of it also when it is the same as ever."""
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.set_targets(KEY, [replace(target(vllm), ready=False)])
    assert bench.prober.pause(KEY)
    await bench.pass_time(0)
    assert vllm.asked["/health"] == 2
    assert bench.prober.pause(KEY) is None
    assert bench.changes == [KEY, KEY]
    await bench.pass_time(100)
    assert vllm.asked["/health"] <= 13
    assert bench.changes == [KEY, KEY]


async def test_one_bad_answer_counts_when_kubernetes_gets_none_either(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.delay = 60
    bench.prober.set_targets(KEY, [replace(target(vllm), ready=False)])
    await bench.pass_time(0)
    assert bench.reason() == "Timeout"
    assert bench.prober.pause(KEY) is None
    assert vllm.asked["/health"] == 2


async def test_doubt_counts_as_soon_as_the_readiness_is_lost(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.status = {"/health": 500}
    while vllm.asked["/health"] < 2:
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    bench.prober.set_targets(KEY, [replace(target(vllm), ready=False)])
    assert bench.reason() == "HTTPError"
    assert bench.prober.pause(KEY) is None


async def test_status_waits_no_longer_than_a_probe_may_take(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.set_targets(KEY, [replace(target(vllm), ready=False)])
    bench.now += 2
    assert bench.prober.pause(KEY) is None
    bench.prober.set_targets(KEY, [target(vllm)])
    assert bench.prober.pause(KEY) is None


async def spoil(vllm: FakeVLLM, failure: str) -> None:
    match failure:
        case "ConnectionRefused":
            await vllm.stop()
        case "Timeout":
            vllm.delay = 2
        case "HTTPError":
            vllm.status = {"/v1/models": 500}
        case "ModelNotServed":
            vllm.models = ("tiny",)
        case "Unauthorized":
            vllm.api_key = "s3cret"


async def test_removed_replica_is_forgotten_and_asked_no_more(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.set_targets(KEY, [])
    await bench.pass_time(30)
    assert bench.prober.health(KEY) == {}
    assert vllm.asked["/health"] == 1


async def test_replica_removed_while_it_is_asked_tells_nothing(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    bench.prober.tick()
    bench.prober.set_targets(KEY, [])
    await bench.prober.settle()
    assert bench.changes == []


async def test_same_targets_again_keep_health_and_pace(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    for _ in range(5):
        bench.prober.set_targets(KEY, [target(vllm)])
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    assert vllm.asked["/health"] == 1


async def test_pod_of_the_same_name_and_another_uid_is_unknown_at_first(bench: Bench, vllm: FakeVLLM):
    bench.prober.set_targets(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.set_targets(KEY, [target(vllm, uid="another")])
    assert bench.reason() == "NotProbed"


async def test_changed_question_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.prober.set_targets(KEY, [first])
    await bench.pass_time(0)
    bench.prober.set_targets(KEY, [replace(first, served_names=("renamed",))])
    await bench.pass_time(1)
    assert bench.reason() == "ModelNotServed"


async def test_answer_to_a_question_that_changed_meanwhile_is_void(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.prober.set_targets(KEY, [first])
    bench.prober.tick()
    bench.prober.set_targets(KEY, [replace(first, served_names=("renamed",))])
    await bench.prober.settle()
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "ModelNotServed"


async def test_key_that_cannot_be_read_is_told_and_stops_nothing(bench: Bench, vllm: FakeVLLM):
    def unreadable() -> str:
        raise KeyError("s3cret")

    bench.prober.set_targets(KEY, [replace(target(vllm), api_key=unreadable), target(vllm, "pod-b")])
    await bench.pass_time(3)
    health = bench.prober.health(KEY)["pod-a"]
    assert health.reason == "Unauthorized"
    assert "s3cret" not in health.message
    assert bench.reason("pod-b") == "Serving"


async def test_key_is_read_at_every_probe(bench: Bench, vllm: FakeVLLM):
    keys = ["old"]
    vllm.api_key = "new"
    bench.prober.set_targets(KEY, [replace(target(vllm), api_key=lambda: keys[-1])])
    await bench.pass_time(1)
    assert bench.reason() == "Unauthorized"
    keys.append("new")
    await bench.pass_time(1)
    assert bench.reason() == "Serving"


async def test_listener_that_breaks_stops_nothing(vllm: FakeVLLM):
    def broken(key: str) -> None:
        raise RuntimeError("listener")

    prober = Prober(broken)
    prober.set_targets(KEY, [target(vllm, interval=0.1)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] >= 3)
    prober.stop()
    await running


async def test_silent_replicas_do_not_delay_others():
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FakeVLLM()) for _ in range(12)]
        for silent in servers[:9]:
            silent.delay = 60
        prober = Prober(lambda key: None, timeout=60, concurrency=3)
        prober.set_targets(KEY, [target(server, f"pod-{index}", interval=0.2) for index, server in enumerate(servers)])
        running = asyncio.create_task(prober.run())
        await until(lambda: all(server.asked["/health"] for server in servers))
        before = servers[-1].asked["/health"]
        # The silent ones hold their places for a minute: whoever waits for one of them is not asked in time.
        await until(lambda: servers[-1].asked["/health"] - before >= 4, seconds=30)
        prober.stop()
        await running


async def test_stop_ends_probes_that_run_and_closes_connections(vllm: FakeVLLM):
    vllm.delay = 60
    prober = Prober(lambda key: None)
    prober.set_targets(KEY, [target(vllm)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] == 1)
    begun = time.monotonic()
    prober.stop()
    await running
    assert time.monotonic() - begun < 1
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_cancelled_run_ends_clean(vllm: FakeVLLM):
    vllm.delay = 60
    prober = Prober(lambda key: None)
    prober.set_targets(KEY, [target(vllm)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] == 1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_idle_prober_wakes_for_a_new_target(vllm: FakeVLLM):
    prober = Prober(lambda key: None)
    running = asyncio.create_task(prober.run())
    await asyncio.sleep(0.05)
    prober.set_targets(KEY, [target(vllm)])
    await until(lambda: prober.health(KEY)["pod-a"].healthy)
    prober.stop()
    await running


async def until(condition: object, seconds: float = 5.0) -> None:
    """Wait until `condition()` holds."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
