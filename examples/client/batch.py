"""Send many requests with a bound on those in flight. Errors are values, so one bad request does not end the others."""

import asyncio
import sys

from vllm_operator.client import AsyncVLLMClient, BatchRequest, run_batch


async def main(base_url: str) -> None:
    """Send a hundred requests, one of which is wrong."""
    requests = [BatchRequest.chat(f"Question {number}", max_tokens=8) for number in range(99)]
    requests.append(BatchRequest.chat("Question 99", max_tokens=-1))
    async with AsyncVLLMClient(base_url) as client:
        outcomes = await run_batch(client, requests, max_concurrency=10)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    print(f"{len(outcomes) - len(failures)} answered, {len(failures)} failed")
    for failure in failures:
        print(f"{type(failure).__name__}: {failure}")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))
