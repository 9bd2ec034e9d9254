"""Accepted and unconfirmed probe results, and the changes that are reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import INTERVAL, KEY, Bench, target
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.results import effective_health


async def test_only_changes_are_reported(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(100)
    assert bench.changes == [KEY]
    assert 9 <= vllm.requests["/health"] <= 12
    assert vllm.requests["/metrics"] == 1


async def test_replica_that_starts_to_serve_is_seen_within_a_second(bench: Bench, vllm: FakeVLLM):
    await vllm.stop()
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(5)
    assert bench.reason() == "ConnectionRefused"
    await vllm.start()
    await bench.pass_time(1)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY, KEY]


async def test_single_failure_of_a_serving_replica_is_not_accepted(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.status = {"/health": 500}
    while vllm.requests["/health"] < 2:
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    vllm.status = {}
    await bench.pass_time(1)
    assert vllm.requests["/health"] == 3
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY]


@pytest.mark.parametrize("failure", ["ConnectionRefused", "Timeout", "HTTPError", "ModelNotServed", "Unauthorized"])
async def test_failure_that_a_second_probe_confirms_is_accepted(bench: Bench, vllm: FakeVLLM, failure: str):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    await break_down(vllm, failure)
    await bench.pass_time(1.5 * INTERVAL + 1)
    assert bench.reason() == failure
    assert bench.changes == [KEY, KEY]


async def test_replica_that_is_no_longer_ready_is_probed_at_once(bench: Bench, vllm: FakeVLLM):
    """The answer is reported also when it is the same as before: a status waits for it."""
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.manager.sync(KEY, [replace(target(vllm), ready=False)])
    assert bench.manager.status_delay(KEY)
    await bench.pass_time(0)
    assert vllm.requests["/health"] == 2
    assert bench.manager.status_delay(KEY) is None
    assert bench.changes == [KEY, KEY]
    await bench.pass_time(100)
    assert vllm.requests["/health"] <= 13
    assert bench.changes == [KEY, KEY]


async def test_one_failure_is_accepted_of_a_replica_that_is_not_ready(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.delay = 60
    bench.manager.sync(KEY, [replace(target(vllm), ready=False)])
    await bench.pass_time(0)
    assert bench.reason() == "Timeout"
    assert bench.manager.status_delay(KEY) is None
    assert vllm.requests["/health"] == 2


async def test_unconfirmed_failure_is_accepted_when_readiness_is_lost(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.status = {"/health": 500}
    while vllm.requests["/health"] < 2:
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    bench.manager.sync(KEY, [replace(target(vllm), ready=False)])
    assert bench.reason() == "HTTPError"
    assert bench.manager.status_delay(KEY) is None


async def test_status_is_delayed_by_one_probe_at_most(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.manager.sync(KEY, [replace(target(vllm), ready=False)])
    bench.now += 2
    assert bench.manager.status_delay(KEY) is None
    bench.manager.sync(KEY, [target(vllm)])
    assert bench.manager.status_delay(KEY) is None


async def break_down(vllm: FakeVLLM, failure: str) -> None:
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


def test_unreachable_replica_keeps_its_reason_whatever_its_engine_does() -> None:
    silent = ReplicaHealth("Timeout", "/health: no answer within 10 s")
    assert effective_health(silent, "no answer") == silent
    assert effective_health(ReplicaHealth("Serving"), "no answer") == ReplicaHealth("Stalled", "no answer")
    assert effective_health(ReplicaHealth("Stalled", "no answer"), "") == ReplicaHealth("Serving")


async def test_port_on_which_nothing_listens_is_probed_at_the_interval_in_the_end(bench: Bench, vllm: FakeVLLM):
    probes: list[str] = []
    await vllm.stop()
    bench.manager._prober._on_probe = lambda reason, _: probes.append(reason)
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(30)
    assert 28 <= len(probes) <= 32
    await bench.pass_time(600)
    probes.clear()
    await bench.pass_time(200)
    assert 18 <= len(probes) <= 22


async def test_replica_that_becomes_ready_after_a_long_start_is_probed_at_once(bench: Bench, vllm: FakeVLLM):
    await vllm.stop()
    bench.manager.sync(KEY, [replace(target(vllm), ready=False)])
    await bench.pass_time(600)
    await vllm.start()
    bench.manager.sync(KEY, [replace(target(vllm), ready=True)])
    await bench.pass_time(0)
    assert bench.reason() == "Serving"


async def test_container_that_starts_again_is_probed_every_second(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm)])
    await bench.pass_time(1000)
    await vllm.stop()
    await bench.pass_time(20)
    await vllm.start()
    await bench.pass_time(1)
    assert bench.reason() == "Serving"
