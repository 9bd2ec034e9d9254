"""What a run sends, sends again and takes from an earlier run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import status
from tests.unit.client.batch.fake_engine import FakeEngineServer, until
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import (
    BatchRequest,
    EarlierFailure,
    InvalidBatchRequest,
    run_batch,
    stream_batch,
)
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import InvalidRequest, ServerFailed
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


async def test_failure_that_passes_is_sent_again(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = [status(500), status(503), status(500)]

    outcomes = await run_batch(client, ["a", "b"], 2)

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * 2


async def test_failure_is_the_outcome_when_patience_is_over(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = status(500)

    outcomes = await run_batch(client, ["a"], retry_for=0)

    assert isinstance(outcomes[0], ServerFailed)
    assert len(engine.bodies()) == 1


async def test_server_that_is_gone_for_a_while_costs_no_answer(engine: FakeEngineServer) -> None:
    """As in a rolling update with one replica: refused connections, an open circuit breaker, then the next replica."""
    config = ClientConfig.model_validate(
        {"base_url": engine.url, "model": "tiny", "circuit_breaker": {"failure_threshold": 2, "recovery_timeout": 0.3}}
    )
    engine.seconds = 0.02

    async def interrupt() -> None:
        await until(lambda: engine.answered >= 20)
        await engine.__aexit__()
        await asyncio.sleep(1.0)
        await engine.__aenter__()

    interruption = asyncio.create_task(interrupt())
    outcomes = await run_batch(config, [f"q{n}" for n in range(100)], 8)
    await interruption

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * 100


async def test_second_run_sends_only_what_has_no_answer(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    requests = [BatchRequest.chat(f"q{n}", custom_id=f"id{n}") for n in range(10)]
    first = await run_batch(client, requests[:6], results_file=path)

    results = [result async for result in stream_batch(client, requests, ordered=True, results_file=path)]

    assert [result.resumed for result in results] == [True] * 6 + [False] * 4
    assert [result.outcome for result in results[:6]] == first
    assert set(engine.asked.values()) == {1}
    assert len(path.read_bytes().splitlines()) == 10


async def test_requests_without_a_name_are_known_by_their_content(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    await run_batch(client, ["a", "b", "b"], results_file=path)

    results = [r async for r in stream_batch(client, ["new", "b", "a", "b", "b"], ordered=True, results_file=path)]

    assert [result.resumed for result in results] == [False, True, True, True, False]
    assert engine.asked == {"a": 1, "b": 3, "new": 1}


async def test_changed_request_is_sent_again(engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run_batch(client, [BatchRequest.chat("old", custom_id="a")], results_file=path)

    results = [
        result async for result in stream_batch(client, [BatchRequest.chat("new", custom_id="a")], results_file=path)
    ]

    assert [result.resumed for result in results] == [False]
    assert engine.asked == {"old": 1, "new": 1}
    assert len(path.read_bytes().splitlines()) == 1


async def test_changed_default_of_the_client_changes_the_request(engine: FakeEngineServer, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    config = ClientConfig(base_url=engine.url, model="tiny", temperature=0.0)
    await run_batch(config, ["a"], results_file=path)
    await run_batch(config, ["a"], results_file=path)
    assert engine.asked == {"a": 1}

    await run_batch(config.model_copy(update={"temperature": 1.0}), ["a"], results_file=path)
    assert engine.asked == {"a": 2}


async def test_second_request_with_the_same_name_is_an_error(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    requests = [BatchRequest.chat(text, custom_id=name) for text, name in (("a", "x"), ("b", "y"), ("c", "x"))]

    outcomes = await run_batch(client, requests, results_file=tmp_path / "out.jsonl")

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse, CompletionResponse, InvalidBatchRequest]
    assert str(outcomes[2]) == "request 2: custom_id 'x' is also that of request 0: give each its own"
    assert engine.asked == {"a": 1, "b": 1}


async def test_error_that_lies_in_the_request_is_not_sent_again(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    engine.answers["/v1/chat/completions"] = status(400, "temperature must be non-negative", param="temperature")
    first = await run_batch(client, ["a"], results_file=path)

    second = await run_batch(client, ["a"], results_file=path)

    assert type(first[0]) is InvalidRequest
    assert isinstance(second[0], EarlierFailure)
    assert (second[0].code, str(second[0])) == ("InvalidRequest", str(first[0]))
    assert len(engine.bodies()) == 1
    line = orjson.loads(path.read_bytes())
    assert line["response"]["status_code"] == 400
    assert line["response"]["body"]["error"]["param"] == "temperature"


@pytest.mark.parametrize("code", [500, 503, 401, 404])
async def test_error_that_lies_in_the_server_is_sent_again_by_the_next_run(
    engine: FakeEngineServer, client: AsyncVLLMClient, tmp_path: Path, code: int
) -> None:
    path = tmp_path / "out.jsonl"
    engine.answers["/v1/chat/completions"] = status(code, "The model `tiny` does not exist.")
    first = await run_batch(client, ["a"], results_file=path, retry_for=0)
    del engine.answers["/v1/chat/completions"]

    second = await run_batch(client, ["a"], results_file=path)

    assert isinstance(first[0], Exception)
    assert isinstance(second[0], CompletionResponse)
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "64", 100_001])
async def test_limit_that_makes_no_sense_is_refused(client: AsyncVLLMClient, limit: Any) -> None:
    with pytest.raises(ValueError, match=r"^max_concurrency: "):
        await run_batch(client, ["a"], limit)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_patience_that_makes_no_sense_is_refused(client: AsyncVLLMClient, seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^retry_for: "):
        await run_batch(client, ["a"], retry_for=seconds)
