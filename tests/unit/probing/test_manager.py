"""Probes of servers on loopback: which replicas are probed, how probing starts and ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target, until
from vllm_operator.kube.key import Key
from vllm_operator.probing.manager import ProbeManager


async def test_new_replica_is_probed_at_once(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY]


async def test_removed_replica_is_no_longer_probed(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.manager.sync(KEY, [])
    await bench.pass_time(30)
    assert bench.manager.health(KEY) == {}
    assert vllm.requests["/health"] == 1


async def test_replica_removed_during_its_probe_reports_no_change(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    bench._start_due()
    bench.manager.sync(KEY, [])
    await bench.manager.wait_until_idle()
    assert bench.changes == []


async def test_added_target_is_probed_and_keeps_its_result(bench: Bench, vllm: FakeVLLM):
    bench.manager.add(target(vllm))
    await bench.pass_time(0)
    bench.manager.add(target(vllm))
    assert bench.reason() == "Serving"
    bench.manager.add(target(vllm, uid="another"))
    assert bench.reason() == "NotProbed"
    bench.manager.sync(KEY, [])
    assert bench.manager.health(KEY) == {}


async def test_unchanged_targets_keep_health_and_schedule(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    for _ in range(5):
        bench.manager.sync(KEY, [target(vllm)])
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    assert vllm.requests["/health"] == 1


async def test_pod_of_the_same_name_and_another_uid_starts_as_not_probed(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.manager.sync(KEY, [target(vllm, uid="another")])
    assert bench.reason() == "NotProbed"


async def test_changed_served_names_are_probed_at_once(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.manager.sync(KEY, [first])
    await bench.pass_time(0)
    bench.manager.sync(KEY, [replace(first, served_names=("renamed",))])
    await bench.pass_time(1)
    assert bench.reason() == "ModelNotServed"


async def test_failing_callback_does_not_stop_the_probes(vllm: FakeVLLM):
    def broken(key: Key) -> None:
        raise RuntimeError("callback")

    manager = ProbeManager(broken)
    manager.sync(KEY, [target(vllm, interval=0.1)])
    running = asyncio.create_task(manager.run())
    await until(lambda: vllm.requests["/health"] >= 3)
    manager.stop()
    await running


async def test_stop_cancels_running_probes_and_closes_connections(vllm: FakeVLLM):
    vllm.delay = 60
    manager = ProbeManager(lambda key: None)
    manager.sync(KEY, [target(vllm)])
    running = asyncio.create_task(manager.run())
    await until(lambda: vllm.requests["/health"] == 1)
    begun = time.monotonic()
    manager.stop()
    await running
    assert time.monotonic() - begun < 1
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_cancelled_run_leaves_no_task(vllm: FakeVLLM):
    vllm.delay = 60
    manager = ProbeManager(lambda key: None)
    manager.sync(KEY, [target(vllm)])
    running = asyncio.create_task(manager.run())
    await until(lambda: vllm.requests["/health"] == 1)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("probe ")]


async def test_idle_scheduler_wakes_for_a_new_target(vllm: FakeVLLM):
    manager = ProbeManager(lambda key: None)
    running = asyncio.create_task(manager.run())
    await asyncio.sleep(0.05)
    manager.sync(KEY, [target(vllm)])
    await until(lambda: manager.health(KEY)["pod-a"].is_healthy)
    manager.stop()
    await running
