"""Run a file in OpenAI's batch format. Start it again after a crash: it sends only what has no result."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from vllm_operator.client import AdaptiveConcurrency, run_batch_file


async def main(base_url: str, folder: Path) -> None:
    """Write a file of requests, run it, and read the results."""
    requests, results = folder / "requests.jsonl", folder / "results.jsonl"
    with requests.open("w") as file:
        for number in range(50):
            body = {"messages": [{"role": "user", "content": f"Question {number}"}], "max_tokens": 8}
            line = {"custom_id": f"q{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")

    print(await run_batch_file(base_url, requests, results, AdaptiveConcurrency(start=4)))
    print(await run_batch_file(base_url, requests, results))
    with results.open() as file:
        first = json.loads(next(file))
    print(first["custom_id"], first["response"]["body"]["choices"][0]["message"]["content"])


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000", Path(name)))
