"""Draw the running and waiting requests of the engines during a load, from vLLM's own metrics."""

import asyncio
import sys
import tempfile
from pathlib import Path

from vllm_operator.client import AsyncVLLMClient, BatchRequest, queue_depth_chart, run_batch, sample_queue


async def main(base_url: str, folder: Path) -> None:
    """Send a load and sample the queue."""
    requests = [BatchRequest.chat(f"Question {number}", max_tokens=64, ignore_eos=True) for number in range(60)]
    async with AsyncVLLMClient(base_url) as client, sample_queue(client, interval=0.05) as samples:
        await run_batch(client, requests, max_concurrency=30)

    print(f"{len(samples)} samples, {max(sample.running for sample in samples):.0f} running at most")
    chart = queue_depth_chart(samples)
    print(chart.terminal(72, 16))
    print(chart.save(folder / "queue.html").name)


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", Path(name)))
