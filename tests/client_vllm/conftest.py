"""One real vLLM for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stalled_engine.engine import RealEngine

MAX_NUM_SEQS = 16
"""Requests that the engine computes at once; the others wait in its queue."""


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with RealEngine(log, "--max-num-seqs", str(MAX_NUM_SEQS), "--no-enable-prefix-caching") as engine:
        yield engine
