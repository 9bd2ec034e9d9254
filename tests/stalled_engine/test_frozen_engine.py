"""A real vLLM whose engine is stopped and goes on, and one that is only busy: what the prober makes of each.

Times are the operator's real ones: a probe every 10 s, 20 s for a completion. They are printed, and bounded by the
minute within which a status has to be true.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from tests.stalled_engine.engine import RealEngine
from tests.stalled_engine.load import load
from tests.stalled_engine.network import relay
from tests.stalled_engine.watcher import watching

TRUE_WITHIN = 60.0
"""Seconds until the status must be true (issue: "What must be shown")."""

FLOOD_SECONDS = float(os.environ.get("FLOOD_SECONDS", "60"))

Record = Callable[[str, object], None]


async def test_engine_that_freezes_at_work_is_stalled_and_serves_again_when_it_goes_on(
    engine: RealEngine, record_property: Record
) -> None:
    async with load(engine.url) as clients, watching(engine.url) as watcher:
        clients.stream(8, tokens=1500)
        await asyncio.sleep(5)
        engine.freeze()
        stalled = await watcher.until("Stalled")
        message = watcher.health.message
        engine.thaw()
        serving = await watcher.until("Serving")
    report(record_property, frozen_at_work=stalled, goes_on=serving, message=message)
    assert message == (
        "/health answers 200, but a one-token completion got no answer within 20 s and no counter of the engine moved"
    )
    assert max(stalled, serving) <= TRUE_WITHIN


async def test_engine_that_freezes_idle_is_stalled_once_requests_get_no_answer(
    engine: RealEngine, record_property: Record
) -> None:
    async with watching(engine.url) as watcher:
        await asyncio.sleep(20)  # so that it has been seen idle
        engine.freeze()
        async with load(engine.url) as clients:
            clients.stream(3, tokens=5)
            stalled = await watcher.until("Stalled")
        engine.thaw()
        serving = await watcher.until("Serving")
    report(record_property, frozen_idle=stalled, goes_on=serving)
    assert max(stalled, serving) <= TRUE_WITHIN


async def test_requests_that_their_clients_gave_up_are_a_sign_too(engine: RealEngine, record_property: Record) -> None:
    async with watching(engine.url) as watcher:
        engine.freeze()
        begun = time.monotonic()
        while watcher.health.reason == "Serving" and time.monotonic() - begun < 2 * TRUE_WITHIN:
            async with load(engine.url) as clients:
                clients.stream(1, tokens=5)
                await asyncio.sleep(2)
            await asyncio.sleep(1)
        stalled = time.monotonic() - begun
        assert watcher.health.reason == "Stalled"
    report(record_property, frozen_with_impatient_clients=stalled)
    assert stalled <= TRUE_WITHIN


async def test_always_finds_an_engine_that_freezes_idle(engine: RealEngine, record_property: Record) -> None:
    async with watching(engine.url, "Always") as watcher:
        await asyncio.sleep(15)
        engine.freeze()
        stalled = await watcher.until("Stalled")
    report(record_property, always=stalled)
    assert stalled <= TRUE_WITHIN


async def test_completions_that_were_given_up_leave_no_load(engine: RealEngine) -> None:
    async with watching(engine.url, "Always") as watcher:
        engine.freeze()
        await watcher.until("Stalled")
    before = engine.metric("vllm:generation_tokens_total")
    engine.thaw()
    await asyncio.sleep(5)
    held = engine.metric("vllm:num_requests_running") + engine.metric("vllm:num_requests_waiting")
    assert held == 0
    assert engine.metric("vllm:generation_tokens_total") - before <= 3, "each of our completions is one token"


async def test_network_that_is_cut_is_never_taken_for_a_frozen_engine(
    engine: RealEngine, record_property: Record
) -> None:
    """Cut while a completion waits for a frozen engine; healed; and cut while the engine works."""
    async with load(engine.url) as clients, relay(engine.port) as (network, url), watching(url) as watcher:
        clients.stream(4, tokens=1500)
        await asyncio.sleep(5)
        engine.freeze()
        await asyncio.sleep(20)
        network.up.clear()
        silent = await watcher.until("Timeout")
        assert "Stalled" not in watcher.reasons
        network.up.set()
        stalled = await watcher.until("Stalled")
        engine.thaw()
        await watcher.until("Serving")
        network.up.clear()
        await watcher.until("Timeout")
        await asyncio.sleep(40)
        reasons = watcher.reasons
        network.up.set()
        await watcher.until("Serving")
    report(record_property, cut_is_seen_after=silent, frozen_is_seen_after_the_cut=stalled)
    assert [reason for reason in reasons if reason != "Serving"] == ["Timeout", "Stalled", "Timeout"]


async def test_busy_engine_is_never_called_stalled_nor_asked_for_anything(
    engine: RealEngine, record_property: Record
) -> None:
    """40 streams and prompts of 2,000 tokens on one replica; `FLOOD_SECONDS` says how long."""
    finished = engine.metric("vllm:request_success_total")
    async with load(engine.url) as clients, watching(engine.url, interval=5) as watcher:
        clients.stream(40, tokens=250)
        clients.prompts(10)
        await asyncio.sleep(FLOOD_SECONDS)
        waiting = engine.metric("vllm:num_requests_running") + engine.metric("vllm:num_requests_waiting")
        await clients.finish()
        reasons = watcher.reasons
    report(record_property, flood_seconds=FLOOD_SECONDS, answered=dict(clients.done), held=waiting)
    assert reasons == ["Serving"]
    assert clients.failures == []
    await asyncio.sleep(2)
    ours = engine.metric("vllm:request_success_total") - finished - clients.done.total()
    assert ours == 0, "the prober has added load to a busy engine"


async def test_full_queue_is_not_called_stalled(engine: RealEngine, record_property: Record) -> None:
    """Far more requests than run at once, so that a completion would wait in the queue for long."""
    async with load(engine.url) as clients, watching(engine.url, "Always", interval=5) as watcher:
        clients.stream(400, tokens=100)
        await asyncio.sleep(min(FLOOD_SECONDS, 60))
        waiting = engine.metric("vllm:num_requests_waiting")
        reasons = watcher.reasons
    report(record_property, waiting=waiting, answered=dict(clients.done))
    assert waiting > 0
    assert reasons == ["Serving"]


def report(record_property: Record, **figures: object) -> None:
    """Keep figures in the test's report, and print them."""
    for name, value in figures.items():
        shown = round(value, 1) if isinstance(value, float) else value
        record_property(name, shown)
        print(f"{name}: {shown}")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
