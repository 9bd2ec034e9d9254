"""Run the Python of the pages about the client library, against a stand-in on loopback."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import REPOSITORY
from tests.unit.client.batch.fake_engine import FakeEngineServer

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {
    path.name: BLOCK.findall(path.read_text()) for path in sorted((REPOSITORY / "docs" / "how-to").glob("client-*.md"))
}
DEFAULT_URL = "http://localhost:8000"


def test_there_are_pages_about_the_client() -> None:
    assert {"client-batches.md", "client-charts.md", "client-metrics.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
async def test_each_block_of_a_page_runs_after_the_ones_before_it(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "docs"}
    async with FakeEngineServer(capacity=8, seconds=0.005) as server:
        async with asyncio.timeout(120):
            for number, block in enumerate(PAGES[page], 1):
                source = block.replace(DEFAULT_URL, server.url)
                code = compile(source, f"{page}#{number}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                if code.co_flags & inspect.CO_COROUTINE:
                    await eval(code, names)
                else:
                    await asyncio.to_thread(exec, code, names)
        assert server.requests
    outcomes = names.get("outcomes", [])
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
