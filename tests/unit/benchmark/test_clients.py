from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.benchmark.clients import Clients
from vllm_operator.client import AsyncVLLMClient, ClientConfig, ModelNotReady


def open_client(url: str) -> AsyncVLLMClient:
    return AsyncVLLMClient(ClientConfig(base_url=url, api_key=SecretStr("")), model="tiny")


async def test_requests_follow_the_replicas_that_serve_now() -> None:
    async with FakeVLLMServer() as first, FakeVLLMServer() as second:
        urls = [first.url]
        async with Clients(lambda: urls, open_client) as clients:

            async def ask() -> None:
                async with clients.client() as client:
                    await client.completions("x", max_tokens=1)

            await ask()
            urls.append(second.url)
            await asyncio.gather(*(ask() for _ in range(3)))
            assert (len(first.requests), len(second.requests)) == (2, 2)
            del urls[0]
            await ask()
            assert (len(first.requests), len(second.requests)) == (2, 3)


async def test_a_moment_without_replicas_is_an_error_of_the_request() -> None:
    async with Clients(lambda: [], open_client) as clients:
        with pytest.raises(ModelNotReady, match="no replica is ready at this moment"):
            async with clients.client():
                pass
