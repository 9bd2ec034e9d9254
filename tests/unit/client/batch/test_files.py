"""Batches from file to file, and a run that is killed with SIGKILL."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.helpers.fake_vllm_server import status
from tests.helpers.paths import REPOSITORY
from tests.helpers.signals import default_interrupt
from tests.unit.client.batch.fake_engine import FakeEngineServer, until
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import BatchFileError, BatchFileSummary, run_batch_file, run_batch_file_threaded
from vllm_operator.client.batch import results_file as results_file_module


def line(name: str, text: str = "hi", **changes: Any) -> dict[str, Any]:
    """Return a line of the input format."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body, **changes}


def write(path: Path, *values: Any) -> Path:
    """Write a JSONL file."""
    path.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in values))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_each_request_has_a_line_in_openais_format(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    engine.answers["/v1/embeddings"] = status(400, "no embeddings")
    lines = [line("a", "one"), line("b", url="/v1/embeddings", body={"input": "x"}), line("c", "three")]
    source = write(tmp_path / "in.jsonl", *lines)

    summary = await run_batch_file(client, source, tmp_path / "out.jsonl")

    assert summary == BatchFileSummary(total=3, answered=2, failed=1, resumed=0)
    found = {entry["custom_id"]: entry for entry in read(tmp_path / "out.jsonl")}
    assert set(found) == {"a", "b", "c"}
    assert found["a"]["response"]["body"]["choices"][0]["message"]["content"] == "Hello world"
    assert found["a"]["error"] is None
    assert found["b"]["response"]["status_code"] == 400
    assert found["b"]["error"]["code"] == "InvalidRequest"


async def test_second_run_sends_nothing(engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *(line(str(n), f"q{n}") for n in range(30)))
    await run_batch_file(client, source, tmp_path / "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()

    summary = await run_batch_file(client, source, tmp_path / "out.jsonl")

    assert summary == BatchFileSummary(total=30, answered=30, failed=0, resumed=30)
    assert set(engine.asked.values()) == {1}
    assert (tmp_path / "out.jsonl").read_bytes() == before


async def test_line_endings_blank_lines_and_byte_order_mark_are_fine(client: AsyncVLLMClient, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(
        b"\xef\xbb\xbf" + orjson.dumps(line("a")) + b"\r\n\r\n  \n" + orjson.dumps(line("b"))  # No newline at the end.
    )

    summary = await run_batch_file(client, source, tmp_path / "out.jsonl")

    assert summary.answered == 2


async def test_nothing_is_sent_while_a_line_is_wrong(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    write(source, line("a"), line("b", url="/x"), line("a"), line("c", body=None))
    source.write_bytes(source.read_bytes() + b'{"custom_id": "torn"')

    with pytest.raises(BatchFileError) as caught:
        await run_batch_file(client, source, tmp_path / "out.jsonl")

    message = str(caught.value)
    assert message.startswith(f"{source}: nothing was sent: line 2: url is '/x': use one of ")
    assert "; line 3: custom_id 'a' is also that of line 1: give each request its own; line 4: body is " in message
    assert "; line 5: it is no JSON" in message
    assert engine.requests == []
    assert not (tmp_path / "out.jsonl").exists()


async def test_only_the_first_problems_are_listed(client: AsyncVLLMClient, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *([1] * 1000))

    with pytest.raises(BatchFileError) as caught:
        await run_batch_file(client, source, tmp_path / "out.jsonl")

    assert str(caught.value).count("line ") == 10
    assert str(caught.value).endswith("the lines after that are not checked")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
async def test_file_without_a_request_is_refused(client: AsyncVLLMClient, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)

    with pytest.raises(BatchFileError, match="holds no request"):
        await run_batch_file(client, tmp_path / "in.jsonl", tmp_path / "out.jsonl")


async def test_file_that_cannot_be_read_is_named(client: AsyncVLLMClient, tmp_path: Path) -> None:
    for path in (tmp_path / "no.jsonl", tmp_path):
        with pytest.raises(BatchFileError, match=rf"{path}: it cannot be read: "):
            await run_batch_file(client, path, tmp_path / "out.jsonl")


async def test_input_is_never_used_for_the_results(client: AsyncVLLMClient, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", line("a"))
    (tmp_path / "link.jsonl").symlink_to(source)

    for path in (source, tmp_path / "link.jsonl"):
        with pytest.raises(BatchFileError, match="it is also the results file"):
            await run_batch_file(client, source, path)
    other = write(tmp_path / "other.jsonl", line("b"))
    with pytest.raises(BatchFileError, match="no results file of a batch"):
        await run_batch_file(client, source, other)

    assert read(source) == [line("a")]
    assert read(other) == [line("b")]


async def test_line_above_the_bound_is_refused(
    client: AsyncVLLMClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm_operator.client.batch import files

    monkeypatch.setattr(results_file_module, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    source = write(tmp_path / "in.jsonl", line("a"), line("b", "x" * 2000))

    with pytest.raises(BatchFileError, match="line 2 has more than 1,000 bytes"):
        await run_batch_file(client, source, tmp_path / "out.jsonl")


async def test_file_that_changes_during_the_run_ends_it(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    engine.seconds = 0.02
    source = write(tmp_path / "in.jsonl", *(line(str(n), "x" * 3000) for n in range(200)))

    async def change() -> None:
        await until(lambda: engine.answered >= 5)
        size = source.stat().st_size
        with source.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\n" * (size // 4))
            file.write(b"garbage\n")

    changing = asyncio.create_task(change())
    with pytest.raises(BatchFileError, match=r"line \d+ changed during the run"):
        await run_batch_file(client, source, tmp_path / "out.jsonl", 4)
    await changing


async def test_threads_do_the_same(engine: FakeEngineServer, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", *(line(str(n), f"q{n}") for n in range(20)))

    first = await asyncio.to_thread(run_batch_file_threaded, engine.url, source, tmp_path / "out.jsonl", 5)
    second = await asyncio.to_thread(run_batch_file_threaded, engine.url, source, tmp_path / "out.jsonl", 5)

    assert first == BatchFileSummary(total=20, answered=20, failed=0, resumed=0)
    assert second == BatchFileSummary(total=20, answered=20, failed=0, resumed=20)
    assert set(engine.asked.values()) == {1}


SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
PROGRAM = """
import asyncio, sys
from vllm_operator.client.batch import run_batch_file, run_batch_file_threaded

url, source, results, how = sys.argv[1:]
if how == "asyncio":
    print(asyncio.run(run_batch_file(url, source, results, 8)))
else:
    print(run_batch_file_threaded(url, source, results, 8))
"""


@pytest.mark.parametrize("how", ["asyncio", "threads"])
async def test_run_that_is_killed_again_and_again_answers_each_request_once(
    engine: FakeEngineServer, tmp_path: Path, how: str
) -> None:
    """End the process at random moments, most often by SIGKILL. Only requests in flight then are sent once more."""
    count, kills, rng = 800, 0, random.Random(how)
    engine.seconds = 0.02
    source = write(tmp_path / "in.jsonl", *(line(str(n), f"q{n}") for n in range(count)))
    results = tmp_path / "out.jsonl"
    arguments = [sys.executable, "-c", textwrap.dedent(PROGRAM), engine.url, str(source), str(results), how]
    while True:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": "operator"},
            preexec_fn=default_interrupt,
        )
        goal = engine.answered + rng.randrange(20, 120)
        if kills < len(SIGNALS):
            await until(lambda goal=goal: engine.answered >= goal)  # type: ignore[misc]
            process.send_signal(SIGNALS[kills])
            async with asyncio.timeout(30):
                assert await process.wait() != 0
            kills += 1
            continue
        output, _ = await process.communicate()
        break

    entries = read(results)
    assert sorted(int(entry["custom_id"]) for entry in entries) == list(range(count))
    assert all(entry["response"]["status_code"] == 200 for entry in entries)
    assert b"total=800, answered=800, failed=0" in output
    repeated = sum(engine.asked.values()) - count
    assert 0 <= repeated <= kills * 8
    assert max(engine.asked.values()) <= 1 + kills
