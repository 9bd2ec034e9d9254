"""Sample replicas when asked, share what is fresh, and leave out those that are silent."""

from __future__ import annotations

import asyncio

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.helpers.fakes import FakeClock
from vllm_operator.probing import load_sampler
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.load_sampler import FORGET_SECONDS, LoadSampler, SampleTarget

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sampler(session: ReplicaSession, clock: FakeClock) -> LoadSampler:
    return LoadSampler(lambda: session, clock, lambda: NOW)


def target(server: FakeVLLM, uid: str = "u") -> SampleTarget:
    return SampleTarget(uid, server.url, "llm")


async def test_a_fresh_sample_is_shared(vllm: FakeVLLM, sampler: LoadSampler, clock: FakeClock) -> None:
    first = await sampler.sample([target(vllm)], 1.0)
    clock.now += 0.9
    second = await sampler.sample([target(vllm)], 1.0)

    assert first == second
    assert first["u"].load is not None
    assert first["u"].time == NOW
    assert vllm.requests["/metrics"] == 1


async def test_an_old_sample_is_taken_again(vllm: FakeVLLM, sampler: LoadSampler, clock: FakeClock) -> None:
    await sampler.sample([target(vllm)], 1.0)
    clock.now += 1.1
    samples = await sampler.sample([target(vllm)], 1.0)

    assert samples["u"].taken == clock.now
    assert vllm.requests["/metrics"] == 2


async def test_requests_at_the_same_time_share_one_answer(vllm: FakeVLLM, sampler: LoadSampler) -> None:
    both = await asyncio.gather(sampler.sample([target(vllm)], 1.0), sampler.sample([target(vllm)], 1.0))

    assert both[0] == both[1]
    assert vllm.requests["/metrics"] == 1


async def test_replica_without_the_metrics_has_a_sample_without_a_load(vllm: FakeVLLM, sampler: LoadSampler) -> None:
    vllm.body["/metrics"] = b"process_open_fds 30.0\n"

    sample = (await sampler.sample([target(vllm)], 1.0))["u"]

    assert sample.load is None
    assert "no number of running" in sample.message


async def test_silent_replica_delays_nobody_again(
    vllm: FakeVLLM, sampler: LoadSampler, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_sampler, "TIMEOUT_SECONDS", 0.05)
    vllm.delays["/metrics"] = 30.0
    await sampler.sample([target(vllm)], 1.0)
    await asyncio.sleep(0.1)
    assert (await sampler.sample([target(vllm)], 1.0))["u"].load is None
    clock.now += 5

    again = await sampler.sample([target(vllm)], 1.0)

    assert again == {}
    vllm.delays.clear()
    await asyncio.sleep(0.2)
    clock.now += 5
    await sampler.sample([target(vllm)], 1.0)
    await asyncio.sleep(0.2)
    assert (await sampler.sample([target(vllm)], 1.0))["u"].load is not None


async def test_sample_that_nobody_asks_for_is_forgotten(vllm: FakeVLLM, sampler: LoadSampler, clock: FakeClock) -> None:
    await sampler.sample([target(vllm)], 1.0)
    clock.now += FORGET_SECONDS + 1

    await sampler.sample([], 1.0)

    assert await sampler.sample([target(vllm)], 2 * FORGET_SECONDS) != {}
    assert vllm.requests["/metrics"] == 2


async def test_close_ends_what_runs(vllm: FakeVLLM, sampler: LoadSampler) -> None:
    vllm.delays["/metrics"] = 30.0
    asked = asyncio.create_task(sampler.sample([target(vllm)], 1.0))
    await asyncio.sleep(0.05)

    await sampler.close()

    assert await asked == {}
