"""The official OpenAI SDK, unchanged, with our transport."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import openai
import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer, abort_connection, hang, status, stream_of
from vllm_operator.client import (
    ClientConfig,
    Observer,
    RequestInfo,
    RequestOutcome,
    RetryPolicy,
    async_openai_client,
    openai_client,
)
from vllm_operator.client.loop_thread import LoopThread
from vllm_operator.client.openai_sdk import sdk_timeout

CHAT = "/v1/chat/completions"
MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


class Outcomes(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, int | None]] = []

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        tokens = outcome.usage.completion_tokens if outcome.usage else None
        self.seen.append((request.operation, request.model, outcome.status, tokens))


def config(server: FakeVLLMServer, **changes: object) -> ClientConfig:
    values: dict[str, object] = {"base_url": server.url, "retries": RetryPolicy(base_delay=0.001), "api_key": ""}
    return ClientConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def running() -> Iterator[FakeVLLMServer]:
    thread, server = LoopThread(), FakeVLLMServer()
    thread.run(server.__aenter__())
    yield server
    thread.run(server.__aexit__())
    thread.stop()


async def test_asynchronous_sdk_chats_and_streams(server: FakeVLLMServer) -> None:
    outcomes = Outcomes()
    async with async_openai_client(config(server), observers=[outcomes]) as sdk:
        answer = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, temperature=0.0)
        assert answer.choices[0].message.content == "Hello world"
        stream = await sdk.chat.completions.create(
            model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert "".join(piece or "" for piece in pieces) == "Hello world"
        assert [model.id async for model in sdk.models.list()] == ["tiny"]
        assert (await sdk.embeddings.create(model="tiny", input=["a"], encoding_format="float")).data[0].index == 0

    assert outcomes.seen == [
        ("chat", "tiny", "ok", 2),
        ("chat", "tiny", "ok", 2),
        ("models", "", "ok", None),
        ("embeddings", "tiny", "ok", 0),
    ]


def test_synchronous_sdk_chats_and_streams(running: FakeVLLMServer) -> None:
    with openai_client(config(running, api_key="secret")) as sdk:
        answer = sdk.chat.completions.create(model="tiny", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello world"
        stream = sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Hello world"

    assert running.requests[0][1]["Authorization"] == "Bearer secret"


async def test_no_key_is_sent_when_there_is_none(server: FakeVLLMServer) -> None:
    async with async_openai_client(config(server)) as sdk:
        await sdk.models.list()
    async with async_openai_client(config(server), api_key="given") as sdk:
        await sdk.models.list()

    assert "Authorization" not in server.requests[0][1]
    assert server.requests[1][1]["Authorization"] == "Bearer given"


async def test_our_retries_replace_those_of_the_sdk(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = [status(500, "draining"), abort_connection]
    async with async_openai_client(config(server)) as sdk:
        answer = await sdk.chat.completions.create(model="tiny", messages=MESSAGES)

    assert answer.choices[0].message.content == "Hello world"
    assert len(server.bodies()) == 3


@pytest.mark.parametrize(
    ("code", "error", "sent"),
    [
        (400, openai.BadRequestError, 1),
        (401, openai.AuthenticationError, 1),
        (404, openai.NotFoundError, 1),
        (429, openai.RateLimitError, 3),
        (503, openai.InternalServerError, 3),
    ],
)
async def test_errors_are_those_of_the_sdk(
    server: FakeVLLMServer, code: int, error: type[openai.APIStatusError], sent: int
) -> None:
    server.answers[CHAT] = status(code, "the reason")
    async with async_openai_client(config(server)) as sdk:
        with pytest.raises(error, match="the reason"):
            await sdk.chat.completions.create(model="tiny", messages=MESSAGES)

    assert len(server.bodies()) == sent


async def test_timeout_of_a_call_bounds_it(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = hang
    async with async_openai_client(config(server)) as sdk:
        with pytest.raises(openai.APITimeoutError):
            await sdk.chat.completions.create(model="tiny", messages=MESSAGES, timeout=0.1)


async def test_no_server_is_a_connection_error() -> None:
    async with FakeVLLMServer() as server:
        pass
    async with async_openai_client(config(server)) as sdk:
        with pytest.raises(openai.APIConnectionError) as caught:
            await sdk.chat.completions.create(model="tiny", messages=MESSAGES)

    assert "refuses the connection" in str(caught.value.__cause__)


@pytest.mark.parametrize("abort", [True, False])
async def test_broken_stream_is_an_error_with_the_sdk_too(server: FakeVLLMServer, abort: bool) -> None:
    """Without our transport, the SDK takes a stream without its last event for a whole answer."""
    server.answers[CHAT] = stream_of(server.event(server.piece("Hello")), seconds=0.02, abort=abort)
    outcomes = Outcomes()
    async with async_openai_client(config(server), observers=[outcomes]) as sdk:
        stream = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIConnectionError):
            async for _ in stream:
                pass

    assert outcomes.seen == [("chat", "tiny", "error", None)]


async def test_leaving_a_stream_early_ends_the_request(server: FakeVLLMServer) -> None:
    server.words, server.word_seconds = ("a",) * 1000, 0.02
    async with async_openai_client(config(server)) as sdk:
        stream = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await server.until(lambda: server.closed_early > 0)


async def test_several_endpoints_are_used(server: FakeVLLMServer) -> None:
    async with FakeVLLMServer() as other:
        async with async_openai_client(config(server, base_url=(server.url, other.url))) as sdk:
            for _ in range(4):
                await sdk.chat.completions.create(model="tiny", messages=MESSAGES)
        assert len(server.bodies()) == len(other.bodies()) == 2


def test_timeouts_of_the_configuration_are_those_of_the_sdk() -> None:
    timeout = sdk_timeout(ClientConfig())

    assert (timeout.connect, timeout.read) == (5.0, 600.0)


async def test_headers_of_any_bytes_and_the_key_of_the_sdk(
    server: FakeVLLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": []}, headers={"X-Name": "é"})

    monkeypatch.setenv("VLLM_API_KEY", "environment")
    server.answers["/v1/models"] = answer
    async with async_openai_client(server.url, api_key="mine") as sdk:
        assert [model.id async for model in sdk.models.list()] == []

    sent = [headers.getall("Authorization") for _, headers, _ in server.requests]  # type: ignore[attr-defined]
    assert sent == [["Bearer mine"]]


async def test_stream_that_nobody_reads_or_closes_is_ended(server: FakeVLLMServer) -> None:
    outcomes = Outcomes()
    server.answers[CHAT] = stream_of(b'data: {"id": "1", "choices": []}\n\n', hang=True)
    async with async_openai_client(config(server), observers=[outcomes]) as sdk:
        stream = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        del stream
        gc.collect()
        await asyncio.sleep(0.05)

        assert [status for _, _, status, _ in outcomes.seen] == ["cancelled"]
