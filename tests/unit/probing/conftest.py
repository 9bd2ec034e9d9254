"""A stand-in replica on loopback, what asks it, and a prober whose clock is turned by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import Bench
from vllm_operator.probing.http import replica_client


@pytest.fixture
async def vllm() -> AsyncIterator[FakeVLLM]:
    async with FakeVLLM() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with replica_client() as made:
        yield made


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.prober.stop()
    await made.prober.run()
