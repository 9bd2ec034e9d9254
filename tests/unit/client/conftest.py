"""A server for the tests of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer


@pytest.fixture
async def server() -> AsyncIterator[FakeVLLMServer]:
    async with FakeVLLMServer() as running:
        yield running
