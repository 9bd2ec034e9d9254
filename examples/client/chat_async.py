"""Send several chats at once with asyncio, over shared connections."""

import asyncio
import sys

from vllm_operator.client import AsyncVLLMClient, ClientConfig


async def main(base_url: str) -> None:
    """Ask three questions at once."""
    questions = ["What is a pod?", "What is a Service?", "What is a Deployment?"]
    config = ClientConfig(base_url=base_url, max_tokens=32)
    async with AsyncVLLMClient(config) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.chat(question)) for question in questions]
    for question, task in zip(questions, tasks, strict=True):
        answer = task.result()
        print(f"{question} {answer.content!r} ({answer.latency:.2f} s)")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"))
