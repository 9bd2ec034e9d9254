"""Load on one replica, from inside the cluster: streams that last, and a flood of long prompts.

It runs as a script in a pod: `python3 load.py URL MODEL SECONDS`, and prints what it did as one line of JSON.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
import re
import sys
import time
from typing import Any

STREAMS = 40
FLOODERS = 8
PROMPT_TOKENS = 2000
VOCABULARY = range(10, 500)


class Load:
    """The requests, and their results."""

    def __init__(self, session: Any, url: str, model: str, seconds: float) -> None:
        self.session, self.url, self.model = session, url, model
        self.deadline = time.monotonic() + seconds
        self.counts: collections.Counter[str] = collections.Counter()
        self.most_running = 0.0

    async def repeat(self, kind: str, tokens: int, answer: int, stream: bool) -> None:
        """One client: asks again as soon as it was answered."""
        while time.monotonic() < self.deadline:
            prompt = random.choices(VOCABULARY, k=tokens)  # never the same twice: no prefix is cached
            body = {"model": self.model, "prompt": prompt, "max_tokens": answer, "ignore_eos": True, "stream": stream}
            try:
                async with self.session.post(f"{self.url}/v1/completions", json=body) as response:
                    await response.read()
                    self.counts[f"{kind} {response.status}"] += 1
            except Exception as error:
                self.counts[f"{kind} {type(error).__name__}"] += 1
                await asyncio.sleep(0.5)

    async def look(self) -> None:
        """See in vLLM's own metrics that the load is there."""
        while time.monotonic() < self.deadline:
            try:
                async with self.session.get(f"{self.url}/metrics") as response:
                    text = await response.text()
            except Exception as error:
                self.counts[f"metrics {type(error).__name__}"] += 1
                text = ""
            running = re.search(r"^vllm:num_requests_running\{[^}]*\} (\S+)", text, re.MULTILINE)
            self.most_running = max(self.most_running, float(running[1]) if running else 0.0)
            await asyncio.sleep(5)


async def main(url: str, model: str, seconds: float) -> None:
    import aiohttp

    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=unlimited, timeout=aiohttp.ClientTimeout(total=600)) as session:
        load = Load(session, url, model, seconds)
        streams = [load.repeat("stream", 20, 400, True) for _ in range(STREAMS)]
        flood = [load.repeat("flood", PROMPT_TOKENS, 8, False) for _ in range(FLOODERS)]
        await asyncio.gather(*streams, *flood, load.look())
    print(json.dumps({"most_running": load.most_running, **load.counts}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
