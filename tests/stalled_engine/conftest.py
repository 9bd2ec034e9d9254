"""One real vLLM for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stalled_engine.engine import RealEngine


@pytest.fixture(scope="session")
def running_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    log: Path = tmp_path_factory.mktemp("vllm") / "server.log"
    with RealEngine(log) as engine:
        yield engine


@pytest.fixture
def engine(running_engine: RealEngine) -> Iterator[RealEngine]:
    """Yield the server; its engine works at the beginning and at the end of every test."""
    yield running_engine
    running_engine.resume()
