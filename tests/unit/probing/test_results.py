"""Which answers count, and who is told of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import INTERVAL, KEY, Bench, target
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.results import told


async def test_only_changes_are_told(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(100)
    assert bench.changes == [KEY]
    assert 9 <= vllm.asked["/health"] <= 12
    assert vllm.asked["/metrics"] == 1


async def test_replica_that_becomes_ready_is_seen_within_a_second(bench: Bench, vllm: FakeVLLM):
    await vllm.stop()
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(5)
    assert bench.reason() == "ConnectionRefused"
    await vllm.start()
    await bench.pass_time(1)
    assert bench.reason() == "Serving"
    assert bench.changes == [KEY, KEY]


async def test_single_failed_probe_of_a_serving_replica_does_not_count(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
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
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    await spoil(vllm, failure)
    await bench.pass_time(1.5 * INTERVAL + 1)
    assert bench.reason() == failure
    assert bench.changes == [KEY, KEY]


async def test_replica_that_lost_its_readiness_is_asked_at_once(bench: Bench, vllm: FakeVLLM):
    """Who waits for the answer is told of it also when it is the same as ever."""
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.sync(KEY, [replace(target(vllm), ready=False)])
    assert bench.prober.status_delay(KEY)
    await bench.pass_time(0)
    assert vllm.asked["/health"] == 2
    assert bench.prober.status_delay(KEY) is None
    assert bench.changes == [KEY, KEY]
    await bench.pass_time(100)
    assert vllm.asked["/health"] <= 13
    assert bench.changes == [KEY, KEY]


async def test_one_bad_answer_counts_when_kubernetes_gets_none_either(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.delay = 60
    bench.prober.sync(KEY, [replace(target(vllm), ready=False)])
    await bench.pass_time(0)
    assert bench.reason() == "Timeout"
    assert bench.prober.status_delay(KEY) is None
    assert vllm.asked["/health"] == 2


async def test_doubt_counts_as_soon_as_the_readiness_is_lost(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    vllm.status = {"/health": 500}
    while vllm.asked["/health"] < 2:
        await bench.pass_time(0.5)
    assert bench.reason() == "Serving"
    bench.prober.sync(KEY, [replace(target(vllm), ready=False)])
    assert bench.reason() == "HTTPError"
    assert bench.prober.status_delay(KEY) is None


async def test_status_waits_no_longer_than_a_probe_may_take(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm)])
    await bench.pass_time(0)
    bench.prober.sync(KEY, [replace(target(vllm), ready=False)])
    bench.now += 2
    assert bench.prober.status_delay(KEY) is None
    bench.prober.sync(KEY, [target(vllm)])
    assert bench.prober.status_delay(KEY) is None


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


def test_unreachable_replica_is_told_as_such_whatever_its_engine_did() -> None:
    silent = ReplicaHealth("Timeout", "/health: no answer within 10 s")
    assert told(silent, "frozen") == silent
    assert told(ReplicaHealth("Serving"), "frozen") == ReplicaHealth("Stalled", "frozen")
    assert told(ReplicaHealth("Stalled", "frozen"), "") == ReplicaHealth("Serving")
