"""A stand-in with an engine for the tests of batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.unit.client.batch.fake_engine import FakeEngineServer
from tests.unit.client.batch.in_thread import serving
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.config import ClientConfig, RetryPolicy
from vllm_operator.client.sync_client import VLLMClient


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngineServer]:
    async with FakeEngineServer() as running:
        yield running


@pytest.fixture
async def client(engine: FakeEngineServer) -> AsyncIterator[AsyncVLLMClient]:
    """A client without retries of its own, so that a test sees those of the batch."""
    config = ClientConfig(base_url=engine.url, model="tiny", retries=RetryPolicy(max_attempts=1))
    async with AsyncVLLMClient(config) as running:
        yield running


@pytest.fixture
def threaded_engine() -> Iterator[FakeEngineServer]:
    with serving() as server:
        yield server


@pytest.fixture
def sync_client(threaded_engine: FakeEngineServer) -> Iterator[VLLMClient]:
    config = ClientConfig(base_url=threaded_engine.url, model="tiny", retries=RetryPolicy(max_attempts=1))
    with VLLMClient(config) as running:
        yield running
