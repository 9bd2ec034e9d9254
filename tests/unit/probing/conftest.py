"""A fake replica on loopback, a session, and probes with a clock that the tests turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import Bench
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.http import new_session


@pytest.fixture
async def vllm() -> AsyncIterator[FakeVLLM]:
    async with FakeVLLM() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[ReplicaSession]:
    async with new_session() as made:
        yield made


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.manager.stop()
    await made.manager.run()
