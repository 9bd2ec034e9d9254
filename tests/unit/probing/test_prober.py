"""The requests of a probe, their API key, and answers that a changed target voids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.prober import KEY_WITHHELD


async def test_capacity_is_requested_again_after_ten_minutes(bench: Bench, vllm: FakeVLLM):
    bench.manager.sync(KEY, [target(vllm, interval=60)])
    await bench.pass_time(700)
    assert vllm.requests["/metrics"] == 2


async def test_answer_is_void_when_the_target_changed_during_the_probe(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.manager.sync(KEY, [first])
    bench._start_due()
    bench.manager.sync(KEY, [replace(first, served_names=("renamed",))])
    await bench.manager.wait_until_idle()
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "ModelNotServed"


async def test_unreadable_key_is_reported_and_stops_no_other_probe(bench: Bench, vllm: FakeVLLM):
    def unreadable() -> str:
        raise KeyError("s3cret")

    bench.manager.sync(KEY, [replace(target(vllm), api_key=unreadable), target(vllm, "pod-b")])
    await bench.pass_time(3)
    health = bench.manager.health(KEY)["pod-a"]
    assert health.reason == "Unauthorized"
    assert "s3cret" not in health.message
    assert bench.reason("pod-b") == "Serving"


async def test_key_is_read_at_every_probe(bench: Bench, vllm: FakeVLLM):
    keys = ["old"]
    vllm.api_key = "new"
    bench.manager.sync(KEY, [replace(target(vllm), api_key=lambda: keys[-1])])
    await bench.pass_time(1)
    assert bench.reason() == "Unauthorized"
    keys.append("new")
    await bench.pass_time(1)
    assert bench.reason() == "Serving"


class BlindBench(Bench):
    """A probe manager whose watch on pods may break."""

    def __init__(self) -> None:
        super().__init__()
        self.is_fresh = True
        self.manager = ProbeManager(
            self.changes.append, clock=lambda: self.now, timeout=0.3, may_send_key=lambda key: self.is_fresh
        )


@pytest.fixture
async def blind_bench() -> AsyncIterator[BlindBench]:
    made = BlindBench()
    yield made
    made.manager.stop()
    await made.manager.run()


async def test_key_is_not_sent_while_the_addresses_are_not_confirmed(blind_bench: BlindBench, vllm: FakeVLLM):
    vllm.api_key = "s3cret"
    blind_bench.manager.sync(KEY, [replace(target(vllm), api_key="s3cret", synthetic_completion="Always")])
    await blind_bench.pass_time(60)
    assert blind_bench.reason() == "Serving"
    blind_bench.is_fresh = False
    vllm.authorizations.clear()
    completions = vllm.requests["/v1/completions"]
    await blind_bench.pass_time(200)
    assert {key for _, key in vllm.authorizations} == {None}
    assert vllm.requests["/v1/completions"] == completions
    assert blind_bench.reason() == "Serving"
    blind_bench.is_fresh = True
    await blind_bench.pass_time(60)
    assert ("/v1/models", "Bearer s3cret") in vllm.authorizations


async def test_new_replica_without_confirmed_address_says_why_no_key_was_sent(blind_bench: BlindBench, vllm: FakeVLLM):
    vllm.api_key, blind_bench.is_fresh = "s3cret", False
    blind_bench.manager.sync(KEY, [replace(target(vllm), api_key="s3cret")])
    await blind_bench.pass_time(1)
    health = blind_bench.manager.health(KEY)["pod-a"]
    assert health.reason == "Unauthorized"
    assert health.message == f"/v1/models answered 401: {KEY_WITHHELD}"


async def test_replica_that_needs_no_key_is_probed_while_the_addresses_are_not_confirmed(
    blind_bench: BlindBench, vllm: FakeVLLM
):
    blind_bench.is_fresh = False
    blind_bench.manager.sync(KEY, [replace(target(vllm), api_key="s3cret"), target(vllm, "pod-b")])
    await blind_bench.pass_time(1)
    assert (blind_bench.reason(), blind_bench.reason("pod-b")) == ("Serving", "Serving")
