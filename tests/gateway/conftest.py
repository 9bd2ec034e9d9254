"""Gateways and stand-ins of vLLM for the tests with the real Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio
import uvloop

from tests.helpers.fake_vllm_server import FakeVLLMServer


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The loop that the agent has in a pod."""
    return uvloop.EventLoopPolicy()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as found:
        yield found


@pytest_asyncio.fixture
async def replicas() -> AsyncIterator[list[FakeVLLMServer]]:
    """Three replicas that serve `tiny`."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(FakeVLLMServer("tiny")) for _ in range(3)]
