"""`run_batch` and `stream_batch` against a stand-in on loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import status
from tests.unit.client.batch.fake_engine import FakeEngineServer
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import (
    AdaptiveConcurrency,
    BatchRequest,
    InvalidBatchRequest,
    run_batch,
)
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import TokenLimitExceeded
from vllm_operator.client.messages import ChatMessage
from vllm_operator.client.responses import CompletionResponse, EmbeddingResponse, RerankResponse, ScoreResponse
from vllm_operator.client.sync_client import VLLMClient


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


async def test_outcomes_come_in_the_order_of_the_requests(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.answers["/v1/chat/completions"] = echo
    texts = ["x" * length for length in (9, 1, 5, 3, 7)]

    outcomes = await run_batch(client, texts, max_concurrency=5)

    assert [outcome.content for outcome in outcomes if isinstance(outcome, CompletionResponse)] == texts


async def test_errors_are_values_at_their_place(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    message = "This model's maximum context length is 1024 tokens. However, you requested 4096 output tokens"
    engine.answers["/v1/completions"] = status(400, message)

    outcomes = await run_batch(client, ["a", BatchRequest.completion("b"), "c"])

    assert isinstance(outcomes[0], CompletionResponse)
    assert isinstance(outcomes[1], TokenLimitExceeded)
    assert isinstance(outcomes[2], CompletionResponse)


async def test_every_kind_of_request_is_understood(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    outcomes = await run_batch(
        client,
        [
            "text",
            ChatMessage.user("message"),
            [ChatMessage.system("s"), {"role": "user", "content": "u"}],
            {"messages": [{"role": "user", "content": "body"}], "temperature": 0},
            {"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": {"prompt": "p"}},
            {"prompt": "p"},
            BatchRequest.chat("c", temperature=0.5),
            BatchRequest.embeddings(["a", "b"]),
            BatchRequest({"query": "q", "documents": ["d"]}, "/v1/rerank"),
            BatchRequest({"text_1": "q", "text_2": "d"}, "/score"),
        ],
    )

    kinds = [CompletionResponse] * 7 + [EmbeddingResponse, RerankResponse, ScoreResponse]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert {body["model"] for _, _, body in engine.requests} == {"tiny"}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, "request 1: a int is no request"),
        (None, "request 1: a NoneType is no request"),
        (b"bytes", "request 1: a bytes is no request"),
        ([], "request 1: messages is empty"),
        ({}, "request 1: it has none of the fields messages, prompt, input and body"),
        ({"role": "user", "content": "x"}, "request 1: it is one message: put it into a list"),
        ({"body": 3}, "request 1: body is missing or no object"),
        ({"body": {}, "url": "/v1/../admin"}, "request 1: url is '/v1/../admin': use one of"),
        ({"body": {}, "url": "http://evil/v1/chat/completions"}, "request 1: url is"),
        ({"body": {}, "method": "GET"}, "request 1: method is 'GET'"),
        ({"body": {}, "custom_id": 3}, "request 1: custom_id is a int"),
        ({"messages": [], "stream": True}, "request 1: body.stream is true"),
        ({"messages": {1, 2}}, "request 1: "),
        (BatchRequest({"messages": []}, custom_id=""), "request 1: custom_id must have 1 to 512 characters"),
    ],
)
async def test_item_that_is_no_request_is_an_error_at_its_place(
    client: AsyncVLLMClient, item: object, message: str
) -> None:
    outcomes = await run_batch(client, ["a", item, "c"])  # type: ignore[list-item]

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse, InvalidBatchRequest, CompletionResponse]
    assert str(outcomes[1]).startswith(message)


async def test_defaults_of_the_client_complete_a_request(engine: FakeEngineServer) -> None:
    config = ClientConfig(base_url=engine.url, model="tiny", temperature=0.0, max_tokens=9)

    await run_batch(config, ["a", BatchRequest.chat("b", temperature=1.0), {"prompt": "c"}])

    first, second = sorted(engine.bodies(), key=lambda body: body["temperature"])
    assert (first["temperature"], first["max_tokens"]) == (0.0, 9)
    assert (second["temperature"], second["max_tokens"]) == (1.0, 9)
    assert engine.bodies("/v1/completions") == [{"prompt": "c", "model": "tiny"}]


@pytest.mark.parametrize(
    "requests", ["one text", b"x", {"messages": []}, ChatMessage.user("x"), BatchRequest.chat("x")]
)
async def test_one_request_is_no_series(client: AsyncVLLMClient, requests: Any) -> None:
    with pytest.raises(TypeError, match="is one request: put it into a list"):
        await run_batch(client, requests)


@pytest.mark.parametrize("requests", [None, 7])
async def test_what_is_no_series_is_refused(client: AsyncVLLMClient, requests: Any) -> None:
    with pytest.raises(TypeError, match="is no series of requests"):
        await run_batch(client, requests)


async def test_empty_batch_has_no_outcomes(client: AsyncVLLMClient) -> None:
    assert await run_batch(client, []) == []


async def test_adaptive_concurrency_raises_the_limit(engine: FakeEngineServer, client: AsyncVLLMClient) -> None:
    engine.capacity, engine.seconds = 16, 0.05
    engine._free = asyncio.Semaphore(16)

    outcomes = await run_batch(
        client, (f"q{n}" for n in range(600)), AdaptiveConcurrency(start=2, maximum=200, window=0.2)
    )

    assert len(outcomes) == 600
    # How far it is raised depends on the speed of this machine.
    assert 2 < engine.most_in_flight <= 200


async def test_own_client_is_closed_at_the_end(engine: FakeEngineServer) -> None:
    outcomes = await run_batch(engine.url, ["a"])

    assert isinstance(outcomes[0], CompletionResponse)
    assert others() == []


async def test_client_of_another_kind_is_refused(engine: FakeEngineServer) -> None:
    with VLLMClient(engine.url) as client, pytest.raises(TypeError, match="call run_batch_threaded"):
        await run_batch(client, ["a"])  # type: ignore[arg-type]
