"""A rolling update of a real vLLM under a batch: the new replica starts, then the old one drains and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

from tests.stalled_engine.engine import RealEngine
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import BatchRequest, run_batch
from vllm_operator.client.config import CircuitBreakerConfig, ClientConfig
from vllm_operator.client.responses import CompletionResponse

COUNT = 1000
PAUSE = 0.1
"""Seconds between two requests until the update is over, so that it falls into the batch."""
DRAINS = ("--shutdown-timeout", "60")


async def test_each_of_a_thousand_requests_is_answered_once(tmp_path: Path) -> None:
    old, new = (RealEngine(tmp_path / f"{name}.log", *DRAINS) for name in ("old", "new"))
    config = ClientConfig(
        base_url=(old.url, new.url), model="tiny", circuit_breaker=CircuitBreakerConfig(recovery_timeout=1)
    )
    results_file = tmp_path / "results.jsonl"
    updated = asyncio.Event()
    given_before_the_end = 0

    async def requests() -> AsyncIterator[BatchRequest]:
        nonlocal given_before_the_end
        for number in range(COUNT):
            yield BatchRequest.chat(f"Question {number}", max_tokens=24, ignore_eos=True, custom_id=f"q{number}")
            if not updated.is_set():
                given_before_the_end += 1
                await asyncio.sleep(PAUSE)

    async def update() -> None:
        await asyncio.to_thread(new.__enter__)
        old.terminate()
        assert old._process is not None
        await asyncio.to_thread(old._process.wait)
        updated.set()

    await asyncio.to_thread(old.__enter__)
    try:
        updating = asyncio.create_task(update())
        async with AsyncVLLMClient(config) as client:
            outcomes = await run_batch(client, requests(), 32, results_file=results_file)
        await updating
    finally:
        old.stop()
        new.stop()

    endpoints = {outcome.endpoint for outcome in outcomes if isinstance(outcome, CompletionResponse)}
    repeated = sum(outcome.attempts > 1 for outcome in outcomes if isinstance(outcome, CompletionResponse))
    lines = (await asyncio.to_thread(results_file.read_text)).splitlines()
    print(f"{given_before_the_end} requests sent before the end of the update, {repeated} needed another attempt")
    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * COUNT
    assert sorted(json.loads(line)["custom_id"] for line in lines) == sorted(f"q{n}" for n in range(COUNT))
    assert endpoints == {old.url, new.url}
