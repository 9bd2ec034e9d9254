"""Two real vLLM processes behind a real nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.real_nginx import PROGRAM, nginx
from tests.stalled_engine.engine import RealEngine

DRAIN = ("--shutdown-timeout", "60", "--max-num-seqs", "64")
"""Arguments as the operator sets them: running requests may end after SIGTERM."""


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[RealEngine]]:
    """Two servers, started one after the other: together they would take the CPUs from each other."""
    if PROGRAM is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light, or put it into PATH")
    with ExitStack() as stack:
        yield [stack.enter_context(RealEngine(tmp_path / f"vllm-{index}.log", *DRAIN)) for index in range(2)]


@pytest.fixture
def balancer(tmp_path: Path, engines: list[RealEngine]) -> Iterator[str]:
    """Base URL of nginx."""
    with nginx(tmp_path, [f"127.0.0.1:{engine.port}" for engine in engines]) as url:
        yield url
