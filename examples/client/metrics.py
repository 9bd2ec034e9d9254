"""Count requests for Prometheus, and print what a scrape would read."""

import asyncio
import sys

from prometheus_client import CollectorRegistry, generate_latest

from vllm_operator.client import AsyncVLLMClient, ClientMetrics


async def main(base_url: str) -> None:
    """Send a chat and a stream."""
    registry = CollectorRegistry()
    async with AsyncVLLMClient(base_url, observers=[ClientMetrics(registry=registry)]) as client:
        await client.chat("Hello", max_tokens=8)
        await client.stream_chat("Hello", max_tokens=8).collect()
    text = generate_latest(registry).decode()
    print("\n".join(line for line in text.splitlines() if "_total{" in line or line.endswith("_requests 0.0")))


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))
