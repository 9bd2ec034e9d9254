"""Print an answer while it is generated, with asyncio and without. A stream that breaks is an error, not an answer."""

import asyncio
import sys

from vllm_operator.client import AsyncVLLMClient, StreamInterrupted, VLLMClient


def print_stream(base_url: str) -> None:
    """Print the pieces of an answer as they come, then its usage."""
    with VLLMClient(base_url) as client, client.stream_chat("Tell a story.", max_tokens=48) as stream:
        try:
            for delta in stream:
                print(delta.content, end="", flush=True)
        except StreamInterrupted as error:
            print(f"\nonly the start came: {error.partial_content!r}")
            raise
        answer = stream.response
        print(f"\n{answer.usage}, first token after {answer.time_to_first_token or 0:.3f} s")


async def first_words(base_url: str, count: int) -> str:
    """Return the first pieces of an answer. Leaving the block ends the request, and vLLM stops generating."""
    pieces: list[str] = []
    async with AsyncVLLMClient(base_url) as client, client.stream_chat("Count to 1000.", max_tokens=200) as stream:
        async for delta in stream:
            pieces.append(delta.content)
            if len(pieces) > count:
                break
    return "".join(pieces)


url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
print_stream(url)
print(asyncio.run(first_words(url, 5)))
