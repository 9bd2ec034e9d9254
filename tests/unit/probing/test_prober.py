"""What a replica is asked for, with which key, and whether the question still stands when it has answered."""

from __future__ import annotations

from dataclasses import replace

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target


async def test_capacity_is_asked_again_after_ten_minutes(bench: Bench, vllm: FakeVLLM):
    bench.prober.sync(KEY, [target(vllm, interval=60)])
    await bench.pass_time(700)
    assert vllm.asked["/metrics"] == 2


async def test_answer_to_a_question_that_changed_meanwhile_is_void(bench: Bench, vllm: FakeVLLM):
    first = target(vllm)
    bench.prober.sync(KEY, [first])
    bench.prober.tick()
    bench.prober.sync(KEY, [replace(first, served_names=("renamed",))])
    await bench.prober.settle()
    assert bench.reason() == "NotProbed"
    await bench.pass_time(0)
    assert bench.reason() == "ModelNotServed"


async def test_key_that_cannot_be_read_is_told_and_stops_nothing(bench: Bench, vllm: FakeVLLM):
    def unreadable() -> str:
        raise KeyError("s3cret")

    bench.prober.sync(KEY, [replace(target(vllm), api_key=unreadable), target(vllm, "pod-b")])
    await bench.pass_time(3)
    health = bench.prober.health(KEY)["pod-a"]
    assert health.reason == "Unauthorized"
    assert "s3cret" not in health.message
    assert bench.reason("pod-b") == "Serving"


async def test_key_is_read_at_every_probe(bench: Bench, vllm: FakeVLLM):
    keys = ["old"]
    vllm.api_key = "new"
    bench.prober.sync(KEY, [replace(target(vllm), api_key=lambda: keys[-1])])
    await bench.pass_time(1)
    assert bench.reason() == "Unauthorized"
    keys.append("new")
    await bench.pass_time(1)
    assert bench.reason() == "Serving"
