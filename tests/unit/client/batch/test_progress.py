"""The progress bar of a batch."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from tests.unit.client.batch.fake_engine import FakeEngineServer
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import run_batch


async def test_bar_counts_results_on_standard_error(
    client: AsyncVLLMClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_batch(client, ["a", 7, "c"], progress=True)  # type: ignore[list-item]

    output = capsys.readouterr()
    assert output.out == ""
    assert "3/3" in output.err
    assert "1 failed, 0 resumed" in " ".join(output.err.split())


async def test_bar_of_the_caller_is_used_and_left_running(client: AsyncVLLMClient) -> None:
    text = io.StringIO()
    console = Console(file=text, width=120)
    with Progress(TextColumn("{task.completed}/{task.total} {task.fields[failed]}"), console=console) as bar:
        await run_batch(client, ["a", "b"], progress=bar)
        assert not bar.finished or bar.live.is_started

    assert "2/2 0" in text.getvalue()


async def test_total_of_an_iterator_is_unknown(client: AsyncVLLMClient, capsys: pytest.CaptureFixture[str]) -> None:
    await run_batch(client, iter(["a", "b"]), progress=True)

    assert "2/?" in capsys.readouterr().err


async def test_missing_rich_names_the_extra(client: AsyncVLLMClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ImportError, match=r"pip install 'vllm-operator\[progress\]'"):
        await run_batch(client, ["a"], progress=True)


async def test_nothing_of_rich_is_needed_without_a_bar(
    engine: FakeEngineServer, client: AsyncVLLMClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)

    assert len(await run_batch(client, ["a"])) == 1
