"""The requests of a probe, their API key, and answers that a changed target voids."""

from __future__ import annotations

from dataclasses import replace

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target


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
