"""Call vLLM by the official OpenAI SDK, as any existing program does."""

import asyncio
import sys

from openai import AsyncOpenAI, OpenAI


def chat(base_url: str) -> None:
    """Send a chat, and stream one."""
    with OpenAI(base_url=f"{base_url}/v1", api_key="not-needed") as client:
        model = client.models.list().data[0].id
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=8
        )
        print(answer.choices[0].message.content, answer.usage)
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=8, stream=True
        )
        print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))


async def chat_async(base_url: str) -> None:
    """Send a chat with asyncio."""
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="not-needed") as client:
        model = (await client.models.list()).data[0].id
        answer = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=8
        )
        print(answer.choices[0].message.content)


url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8000"
chat(url)
asyncio.run(chat_async(url))
