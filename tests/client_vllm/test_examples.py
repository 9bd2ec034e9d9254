"""The examples of the client library against a real vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.client_examples import EXAMPLES, run_example
from tests.stalled_engine.engine import RealEngine


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_example_runs_and_prints_what_it_promises(vllm: RealEngine, path: Path) -> None:
    print(await run_example(path, vllm.url))
