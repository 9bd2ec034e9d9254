"""Batches against a real vLLM: all requests answered once, and the load that adaptive concurrency chooses."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import aclosing
from pathlib import Path

from tests.client_vllm.conftest import MAX_NUM_SEQS
from tests.helpers.paths import REPOSITORY
from tests.stalled_engine.engine import RealEngine
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import (
    AdaptiveConcurrency,
    BatchFileSummary,
    BatchRequest,
    run_batch,
    run_batch_file,
    stream_batch,
)
from vllm_operator.client.batch.api import BatchOptions, BatchRun
from vllm_operator.client.batch.asynchronous import ConcurrentBatch
from vllm_operator.client.charts import ThroughputPoint
from vllm_operator.client.measure import measure_throughput, sample_queue
from vllm_operator.client.responses import CompletionResponse

SUCCESSES = "vllm:request_success_total"


def requests(count: int, tokens: int = 32) -> list[BatchRequest]:
    """Return requests that take a while each."""
    return [BatchRequest.chat(f"Question {number}", max_tokens=tokens, ignore_eos=True) for number in range(count)]


async def test_each_request_is_answered_by_the_engine_once(vllm: RealEngine) -> None:
    before = vllm.metric(SUCCESSES)
    async with AsyncVLLMClient(vllm.url) as client:
        outcomes = await run_batch(client, requests(300, 8), 64)

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * 300
    assert vllm.metric(SUCCESSES) - before == 300


async def test_leaving_a_batch_early_ends_its_requests_in_the_engine(vllm: RealEngine) -> None:
    long = [BatchRequest.chat(f"Question {n}", max_tokens=900, ignore_eos=True) for n in range(8)]
    async with AsyncVLLMClient(vllm.url) as client:
        async with aclosing(stream_batch(client, [BatchRequest.chat("Hi", max_tokens=1), *long], 9)) as results:
            async for _ in results:
                break
        async with asyncio.timeout(10):
            while await asyncio.to_thread(vllm.metric, "vllm:num_requests_running"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_killed_run_continues_where_it_was(vllm: RealEngine, tmp_path: Path) -> None:
    source, results = tmp_path / "requests.jsonl", tmp_path / "results.jsonl"
    lines = [
        {
            "custom_id": f"q{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 8},
        }
        for number in range(200)
    ]
    await asyncio.to_thread(source.write_text, "".join(json.dumps(line) + "\n" for line in lines))
    program = (
        "import asyncio, sys; from vllm_operator.client import run_batch_file; "
        "asyncio.run(run_batch_file(sys.argv[1], sys.argv[2], sys.argv[3], 8))"
    )
    before = vllm.metric(SUCCESSES)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, vllm.url, str(source), str(results), cwd=REPOSITORY
    )
    async with asyncio.timeout(120):
        while await asyncio.to_thread(vllm.metric, SUCCESSES) - before < 60:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    await process.wait()

    summary = await run_batch_file(vllm.url, source, results, 8)

    assert (summary.total, summary.answered, summary.failed) == (200, 200, 0)
    assert summary.resumed >= 50
    assert vllm.metric(SUCCESSES) - before <= 200 + 8
    assert await run_batch_file(vllm.url, source, results) == BatchFileSummary(200, 200, 0, 200)


async def test_adaptive_concurrency_is_as_fast_as_the_best_fixed_number(vllm: RealEngine) -> None:
    items = requests(1500, 16)
    async with AsyncVLLMClient(vllm.url) as client:
        await run_batch(client, requests(50), 32)
        fixed = await measure_throughput(client, requests(80, 16), (1, 4, 16, 64))
        run = BatchRun(client.config, BatchOptions(AdaptiveConcurrency(start=2, window=0.5)))
        limits: list[int] = []
        ended: list[float] = []
        with run:
            async with sample_queue(client, 1.0) as samples:
                async for _ in ConcurrentBatch(client, run).results(items):
                    limits.append(run.limit)
                    ended.append(asyncio.get_running_loop().time())
    # The limit is still rising in the first half.
    half = len(items) // 2
    adaptive = ThroughputPoint(limits[-1], half / (ended[-1] - ended[-half - 1]))
    waiting = sorted(sample.waiting for sample in samples)[len(samples) // 2]
    rows = [f"{point.concurrency} in flight: {point.requests_per_second:.0f} requests/s" for point in fixed]
    print(*rows, sep="\n")
    print(f"adaptive: {adaptive.requests_per_second:.0f} requests/s, limits {sorted(set(limits))}, {waiting} waiting")

    best = max(point.requests_per_second for point in fixed)
    assert adaptive.requests_per_second > 0.6 * best
    assert adaptive.requests_per_second > 2 * fixed[0].requests_per_second
    assert max(limits) <= 16 * MAX_NUM_SEQS
