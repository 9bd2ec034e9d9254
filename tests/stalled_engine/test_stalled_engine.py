"""Detect the stall of a real vLLM whose engine is suspended and resumed, and of none that is only busy.

The times are those of the operator: a probe every 10 s, 20 s for a completion. The tests print the measured times, and
bound them by the minute within which a status must be true.
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
from tests.stalled_engine.observer import observing

TRUE_WITHIN = 60.0
"""Seconds until the status must be true (issue: "What must be shown")."""

FLOOD_SECONDS = float(os.environ.get("FLOOD_SECONDS", "60"))

Record = Callable[[str, object], None]


async def test_busy_engine_that_is_suspended_is_stalled_and_serves_again_when_resumed(
    engine: RealEngine, record_property: Record
) -> None:
    async with load(engine.url) as clients, observing(engine.url) as observer:
        clients.stream(8, tokens=1500)
        await asyncio.sleep(5)
        engine.suspend()
        stalled = await observer.until("Stalled")
        message = observer.health.message
        engine.resume()
        serving = await observer.until("Serving")
    report(record_property, stalled_at_work=stalled, recovered=serving, message=message)
    assert message == (
        "/health answers 200, but a one-token completion got no answer within 20 s and no counter of the engine moved"
    )
    assert max(stalled, serving) <= TRUE_WITHIN


async def test_idle_engine_that_is_suspended_is_stalled_once_requests_get_no_answer(
    engine: RealEngine, record_property: Record
) -> None:
    async with observing(engine.url) as observer:
        await asyncio.sleep(20)  # so that it has been seen idle
        engine.suspend()
        async with load(engine.url) as clients:
            clients.stream(3, tokens=5)
            stalled = await observer.until("Stalled")
        engine.resume()
        serving = await observer.until("Serving")
    report(record_property, stalled_idle=stalled, recovered=serving)
    assert max(stalled, serving) <= TRUE_WITHIN


async def test_requests_given_up_by_clients_show_a_stall(engine: RealEngine, record_property: Record) -> None:
    async with observing(engine.url) as observer:
        engine.suspend()
        begun = time.monotonic()
        while observer.health.reason == "Serving" and time.monotonic() - begun < 2 * TRUE_WITHIN:
            async with load(engine.url) as clients:
                clients.stream(1, tokens=5)
                await asyncio.sleep(2)
            await asyncio.sleep(1)
        stalled = time.monotonic() - begun
        assert observer.health.reason == "Stalled"
    report(record_property, stalled_with_impatient_clients=stalled)
    assert stalled <= TRUE_WITHIN


async def test_always_detects_an_idle_engine_that_is_suspended(engine: RealEngine, record_property: Record) -> None:
    async with observing(engine.url, "Always") as observer:
        await asyncio.sleep(15)
        engine.suspend()
        stalled = await observer.until("Stalled")
    report(record_property, always=stalled)
    assert stalled <= TRUE_WITHIN


async def test_cancelled_completions_leave_no_load(engine: RealEngine) -> None:
    async with observing(engine.url, "Always") as observer:
        engine.suspend()
        await observer.until("Stalled")
    before = engine.metric("vllm:generation_tokens_total")
    engine.resume()
    await asyncio.sleep(5)
    held = engine.metric("vllm:num_requests_running") + engine.metric("vllm:num_requests_waiting")
    assert held == 0
    assert engine.metric("vllm:generation_tokens_total") - before <= 3, "each of our completions is one token"


async def test_network_cut_is_never_reported_as_stalled(engine: RealEngine, record_property: Record) -> None:
    """Cut while a completion waits for a stalled engine, healed, and cut while the engine works."""
    async with load(engine.url) as clients, relay(engine.port) as (network, url), observing(url) as observer:
        clients.stream(4, tokens=1500)
        await asyncio.sleep(5)
        engine.suspend()
        await asyncio.sleep(20)
        network.up.clear()
        silent = await observer.until("Timeout")
        assert "Stalled" not in observer.reasons
        network.up.set()
        stalled = await observer.until("Stalled")
        engine.resume()
        await observer.until("Serving")
        network.up.clear()
        await observer.until("Timeout")
        await asyncio.sleep(40)
        reasons = observer.reasons
        network.up.set()
        await observer.until("Serving")
    report(record_property, cut_is_seen_after=silent, stall_is_seen_after_the_cut=stalled)
    assert [reason for reason in reasons if reason != "Serving"] == ["Timeout", "Stalled", "Timeout"]


async def test_busy_engine_is_never_reported_as_stalled_and_gets_no_completion(
    engine: RealEngine, record_property: Record
) -> None:
    """40 streams and prompts of 2,000 tokens on one replica; `FLOOD_SECONDS` says how long."""
    finished = engine.metric("vllm:request_success_total")
    async with load(engine.url) as clients, observing(engine.url, interval=5) as observer:
        clients.stream(40, tokens=250)
        clients.prompts(10)
        await asyncio.sleep(FLOOD_SECONDS)
        waiting = engine.metric("vllm:num_requests_running") + engine.metric("vllm:num_requests_waiting")
        await clients.finish()
        reasons = observer.reasons
    report(record_property, flood_seconds=FLOOD_SECONDS, answered=dict(clients.done), held=waiting)
    assert reasons == ["Serving"]
    assert clients.failures == []
    await asyncio.sleep(2)
    ours = engine.metric("vllm:request_success_total") - finished - clients.done.total()
    assert ours == 0, "the operator added load to a busy engine"


async def test_full_queue_is_not_reported_as_stalled(engine: RealEngine, record_property: Record) -> None:
    """Far more requests than run at once, so that a completion would wait in the queue for long."""
    async with load(engine.url) as clients, observing(engine.url, "Always", interval=5) as observer:
        clients.stream(400, tokens=100)
        await asyncio.sleep(min(FLOOD_SECONDS, 60))
        waiting = engine.metric("vllm:num_requests_waiting")
        reasons = observer.reasons
    report(record_property, waiting=waiting, answered=dict(clients.done))
    assert waiting > 0
    assert reasons == ["Serving"]


def report(record_property: Record, **figures: object) -> None:
    """Write figures to the test's report, and print them."""
    for name, value in figures.items():
        shown = round(value, 1) if isinstance(value, float) else value
        record_property(name, shown)
        print(f"{name}: {shown}")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
