"""The prober against servers on loopback: which replicas it asks, how it starts and ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target, until
from vllm_operator.kube.key import Key
from vllm_operator.probing.manager import ProbeManager


async def test_new_replica_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY]


async def test_removed_replica_is_forgotten_and_asked_no_more(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.sync(KEY, [])
    await bench.pass_time(30)
    assert bench.prober.health(KEY) == {}
    assert vllm.asked["/health"] == 1


async def test_replica_removed_while_it_is_asked_tells_nothing(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    bench.prober.tick()
    bench.prober.sync(KEY, [])
    await bench.prober.settle()
    assert bench.changes == []


async def test_same_targets_again_keep_health_and_pace(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    for _ in range(5):
        bench.prober.sync(KEY, [target(vllm)])
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    assert vllm.asked["/health"] == 1


async def test_pod_of_the_same_name_and_another_uid_is_unknown_at_first(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.sync(KEY, [target(vllm, uid="another")])
    assert bench.reason() == "NotProbed"


async def test_changed_question_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.prober.sync(KEY, [first])
    await bench.pass_time(0)
    bench.prober.sync(KEY, [replace(first, served_names=("renamed",))])
    await bench.pass_time(1)
    assert bench.reason() == "ModelNotServed"


async def test_listener_that_breaks_stops_nothing(vllm: FakeVLLM):
    def broken(key: Key) -> None:
        raise RuntimeError("listener")

    prober = ProbeManager(broken)
    prober.sync(KEY, [target(vllm, interval=0.1)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] >= 3)
    prober.stop()
    await running


async def test_stop_ends_probes_that_run_and_closes_connections(vllm: FakeVLLM):
    vllm.delay = 60
    prober = ProbeManager(lambda key: None)
    prober.sync(KEY, [target(vllm)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] == 1)
    begun = time.monotonic()
    prober.stop()
    await running
    assert time.monotonic() - begun < 1
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_cancelled_run_ends_clean(vllm: FakeVLLM):
    vllm.delay = 60
    prober = ProbeManager(lambda key: None)
    prober.sync(KEY, [target(vllm)])
    running = asyncio.create_task(prober.run())
    await until(lambda: vllm.asked["/health"] == 1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_idle_prober_wakes_for_a_new_target(vllm: FakeVLLM):
    prober = ProbeManager(lambda key: None)
    running = asyncio.create_task(prober.run())
    await asyncio.sleep(0.05)
    prober.sync(KEY, [target(vllm)])
    await until(lambda: prober.health(KEY)["pod-a"].healthy)
    prober.stop()
    await running
