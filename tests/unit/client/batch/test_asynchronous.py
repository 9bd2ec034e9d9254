"""A run with asyncio: its order, its bounds, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.unit.client.batch.fake_engine import FakeEngineServer, until
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import (
    BatchFileError,
    run_batch,
    stream_batch,
)
from vllm_operator.client.errors import VLLMClientError
from vllm_operator.client.responses import CompletionResponse


async def echo(request: web.Request) -> web.StreamResponse:
    """Answer with the text of the question, the longer ones later."""
    body = orjson.loads(await request.read())
    text = body["messages"][0]["content"]
    await asyncio.sleep(len(text) / 100)
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return web.json_response({"id": "1", "model": "tiny", "choices": [choice], "usage": {"completion_tokens": 1}})


def others() -> list[str]:
    """The tasks of the library that are not this test."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return [repr(task) for task in tasks if "/vllm_operator/" in repr(task)]


async def test_results_come_as_completed(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    released = {text: asyncio.Event() for text in "abcd"}

    async def held(request: web.Request) -> web.StreamResponse:
        await released[(await request.json())["messages"][0]["content"]].wait()
        return await echo(request)

    engine.answers["/v1/chat/completions"] = held

    async with aclosing(stream_batch(client, list(released), 4)) as results:
        for text in "bdca":
            released[text].set()
            result = await anext(results)
            assert isinstance(result.outcome, CompletionResponse)
            assert result.outcome.content == text


async def test_results_come_in_order_when_asked(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = echo
    texts = ["x" * length for length in (30, 1, 20, 10)]

    results = [result async for result in stream_batch(client, texts, 4, ordered=True)]

    assert [result.position for result in results] == [0, 1, 2, 3]
    assert [result.response.content for result in results] == texts  # type: ignore[union-attr]


async def test_no_more_requests_than_allowed_are_in_flight(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.seconds = 0.01

    outcomes = await run_batch(client, [f"q{n}" for n in range(60)], max_concurrency=7)

    assert len(outcomes) == 60
    assert engine.most_in_flight == 7
    assert set(engine.asked.values()) == {1}


async def test_asynchronous_input_is_read_as_results_are_taken(client: AsyncVLLMClient) -> None:
    given = 0
    closed = False

    async def source() -> AsyncIterator[str]:
        nonlocal given, closed
        try:
            while True:
                given += 1
                yield f"q{given}"
        finally:
            closed = True

    async with aclosing(stream_batch(client, source(), 4)) as results:
        async for result in results:
            if result.position >= 200:
                break

    assert 200 < given < 500
    assert closed


async def test_error_of_the_input_comes_after_the_results_before_it(client: AsyncVLLMClient) -> None:
    def source() -> Iterator[str]:
        yield "a"
        yield "b"
        raise OSError("the disk is gone")

    seen = []

    async def take() -> None:
        async for result in stream_batch(client, source()):
            seen.append(result.ok)  # noqa: PERF401  What was seen before the error counts.

    with pytest.raises(OSError, match="the disk is gone"):
        await take()

    assert seen == [True, True]
    assert others() == []


async def test_cancellation_leaves_no_task_and_ends_the_requests(
    engine: FakeEngineServer, client: AsyncVLLMClient
) -> None:
    engine.seconds = 3600.0
    batch = asyncio.create_task(run_batch(client, [f"q{n}" for n in range(100)], 10))
    await until(lambda: engine.in_flight >= 10)

    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch

    assert others() == []
    await until(lambda: not engine.in_flight)
    assert sum(engine.asked.values()) == 10


async def test_leaving_early_leaves_no_task(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = echo

    async with aclosing(stream_batch(client, ["x", *["y" * 1000] * 20], 10)) as results:
        async for _ in results:
            break

    assert others() == []


async def test_run_ends_when_the_results_file_cannot_be_written(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm_operator.client.batch.results_file import ResultsFile

    appended = 0
    append = ResultsFile.append

    def full_disk(file: ResultsFile, record: Any) -> None:
        nonlocal appended
        appended += 1
        if appended > 5:
            raise BatchFileError("no space left")
        append(file, record)

    monkeypatch.setattr(ResultsFile, "append", full_disk)
    engine.seconds = 0.01

    with pytest.raises(BatchFileError, match="no space left"):
        await run_batch(client, [f"q{n}" for n in range(1000)], 4, results_file=tmp_path / "out.jsonl")

    assert sum(engine.asked.values()) <= 12
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 5
    assert others() == []


async def test_memory_does_not_grow_with_the_input(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.keeps_requests = False
    text = "x" * 1000

    async def peak(count: int) -> int:
        tracemalloc.start()
        async with aclosing(stream_batch(client, (text for _ in range(count)), 8)) as results:
            async for _ in results:
                pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    await peak(100)
    few, many = await peak(200), await peak(1200)

    assert many - few < 300_000


@pytest.mark.parametrize("code", [200, 500])
async def test_answer_with_too_many_levels_does_not_end_the_batch(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path, code: int
) -> None:
    choice = b'{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}'
    deep = b'{"id": "c", "model": "m", "choices": [' + choice + b'], "x": ' + b"[" * 500 + b"]" * 500 + b"}"

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, body=deep, content_type="application/json")

    engine.answers["/v1/chat/completions"] = [answer]
    outcomes = await run_batch(client, ["deep", "usual"], 1, results_file=tmp_path / "results.jsonl", retry_for=0)

    assert isinstance(outcomes[0], VLLMClientError)
    assert not isinstance(outcomes[1], Exception)
    again = await run_batch(client, ["deep", "usual"], 1, results_file=tmp_path / "results.jsonl", retry_for=0)
    assert not any(isinstance(outcome, Exception) for outcome in again)
    assert engine.asked == {"deep": 1, "usual": 1}
