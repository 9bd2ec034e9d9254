"""Measure latency and throughput, and draw them in the terminal and as SVG."""

import asyncio
import sys
import tempfile
from pathlib import Path

from vllm_operator.client import (
    AsyncVLLMClient,
    BatchRequest,
    latency_chart,
    measure_throughput,
    run_batch,
    throughput_chart,
)


async def main(base_url: str, folder: Path) -> None:
    """Compare requests one by one with requests at once."""
    requests = [BatchRequest.chat(f"Question {number}", max_tokens=8) for number in range(24)]
    async with AsyncVLLMClient(base_url) as client:
        one_by_one = await run_batch(client, requests, max_concurrency=1)
        at_once = await run_batch(client, requests, max_concurrency=12)
        points = await measure_throughput(client, requests, (1, 4, 12))

    latency = latency_chart({"one by one": one_by_one, "12 at once": at_once})
    print(latency.terminal(72, 16))
    print(latency.save(folder / "latency.svg").name)

    throughput = throughput_chart(points)
    print(throughput.terminal(72, 16))
    print(throughput.save(folder / "throughput.png").name)


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", Path(name)))
