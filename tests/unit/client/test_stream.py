from __future__ import annotations

import asyncio
import gc

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, abort_connection, hang, status, stream_of
from vllm_operator.client import (
    AsyncVLLMClient,
    ClientConfig,
    InvalidRequest,
    InvalidResponse,
    Observer,
    RequestInfo,
    RequestOutcome,
    RequestTimeout,
    RetryPolicy,
    ServerFailed,
    StreamInterrupted,
    StreamTimeout,
    Timeouts,
)

CHAT = "/v1/chat/completions"


class Outcomes(Observer):
    def __init__(self) -> None:
        self.seen: list[RequestOutcome] = []
        self.first: list[float] = []

    def first_token(self, request: RequestInfo, seconds: float) -> None:
        self.first.append(seconds)

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        self.seen.append(outcome)


def client(server: FakeVLLMServer, *observers: Observer, **changes: object) -> AsyncVLLMClient:
    values: dict[str, object] = {"base_url": server.url, "model": "m", "retries": RetryPolicy(base_delay=0.001)}
    return AsyncVLLMClient(ClientConfig(**(values | changes)), observers=observers)  # type: ignore[arg-type]


def in_flight(user: AsyncVLLMClient) -> int:
    return sum(endpoint.in_flight for endpoint in user._executor.pool.endpoints)


async def test_deltas_come_one_by_one_and_the_usage_at_the_end(server: FakeVLLMServer) -> None:
    outcomes = Outcomes()
    async with client(server, outcomes) as user:
        stream = user.stream_chat("Hi")
        pieces = [delta.content async for delta in stream]

        assert pieces == ["Hello", " world", ""]
        assert stream.response.content == "Hello world"
        assert stream.response.usage is not None
        assert stream.response.usage.completion_tokens == 2
        assert stream.response.time_to_first_token is not None
        assert server.bodies()[0]["stream_options"] == {"include_usage": True}
        assert [outcome.status for outcome in outcomes.seen] == ["ok"]
        assert len(outcomes.first) == 1
        assert in_flight(user) == 0


async def test_whole_answer_can_be_collected(server: FakeVLLMServer) -> None:
    async with client(server) as user:
        stream = await user.stream_completions("Hi")
        assert (await stream.collect()).content == "Hello world"
        async with user.stream_chat("Hi") as second:
            await second.collect()
        assert in_flight(user) == 0


async def test_answer_is_not_there_before_the_end(server: FakeVLLMServer) -> None:
    server.word_seconds = 0.05
    async with client(server) as user, user.stream_chat("Hi") as stream:
        await anext(stream)
        with pytest.raises(StreamInterrupted, match="not read to its end") as caught:
            stream.response  # noqa: B018

    assert caught.value.partial_content == "Hello"


@pytest.mark.parametrize("how", ["break in async with", "break", "aclose", "cancel"])
async def test_leaving_early_ends_the_request(server: FakeVLLMServer, how: str) -> None:
    server.words, server.word_seconds = ("a",) * 1000, 0.02
    outcomes = Outcomes()
    async with client(server, outcomes) as user:
        if how == "break in async with":
            async with user.stream_chat("Hi") as stream:
                async for _ in stream:
                    break
        elif how == "break":
            async for _ in user.stream_chat("Hi"):
                break
            gc.collect()
        elif how == "aclose":
            left = await user.stream_chat("Hi")
            await left.aclose()
        else:
            task = asyncio.create_task(user.stream_chat("Hi").collect())
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await server.until(lambda: server.closed_early > 0)

        assert [outcome.status for outcome in outcomes.seen] == ["cancelled"]
        assert in_flight(user) == 0


@pytest.mark.parametrize("ending", ["abort", "end", "no finish reason"])
async def test_broken_stream_is_an_error_and_not_a_short_answer(server: FakeVLLMServer, ending: str) -> None:
    pieces = [server.event(server.piece("Hello")), *([b"data: [DONE]\n\n"] if ending == "no finish reason" else [])]
    server.answers[CHAT] = stream_of(*pieces, seconds=0.02, abort=ending == "abort")
    outcomes = Outcomes()
    async with client(server, outcomes) as user:
        stream = user.stream_chat("Hi")
        with pytest.raises(StreamInterrupted) as caught:
            await stream.collect()

        assert caught.value.partial_content == "Hello"
        assert len(server.bodies()) == 1, "no retry after the first token"
        assert [outcome.status for outcome in outcomes.seen] == ["error"]
        assert in_flight(user) == 0


async def test_failure_before_the_first_token_is_tried_again(server: FakeVLLMServer) -> None:
    role = server.event(server.piece(""))
    server.answers[CHAT] = [abort_connection, stream_of(role, abort=True), status(500, "draining")]
    async with client(server, retries=RetryPolicy(max_attempts=5, base_delay=0.001)) as user:
        response = await user.stream_chat("Hi").collect()

    assert response.content == "Hello world"
    assert response.attempts == 4


async def test_error_event_before_the_first_token_is_that_error(server: FakeVLLMServer) -> None:
    error = {"error": {"message": "bad request", "type": "BadRequestError", "code": 400}}
    server.answers[CHAT] = stream_of(server.event(error), b"data: [DONE]\n\n")
    async with client(server) as user:
        with pytest.raises(InvalidRequest, match="bad request"):
            await user.stream_chat("Hi").collect()


async def test_error_event_after_a_token_interrupts_the_stream(server: FakeVLLMServer) -> None:
    error = {"error": {"message": "engine trouble", "type": "InternalServerError", "code": 500}}
    server.answers[CHAT] = stream_of(server.event(server.piece("Hello")) + server.event(error), b"data: [DONE]\n\n")
    async with client(server) as user:
        stream = user.stream_chat("Hi")
        assert (await anext(stream)).content == "Hello"
        with pytest.raises(StreamInterrupted, match="engine trouble") as caught:
            await anext(stream)

    assert isinstance(caught.value.__cause__, ServerFailed)


@pytest.mark.parametrize(
    "garbage",
    [b"data: {nope\n\n", b"data: \xff\xfe\n\n", b"data: [1]\n\n", b'data: {"id":1}\n\n', b'data: {"choices":3}\n\n'],
)
async def test_garbage_is_an_invalid_response(server: FakeVLLMServer, garbage: bytes) -> None:
    server.answers[CHAT] = stream_of(server.event(server.piece("Hello")), garbage, hang=True)
    async with client(server) as user:
        with pytest.raises(InvalidResponse, match=server.url):
            await user.stream_chat("Hi").collect()
        assert in_flight(user) == 0


async def test_answer_that_is_no_stream_is_an_invalid_response(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = status(200)
    async with client(server) as user:
        with pytest.raises(InvalidResponse, match="instead of a stream"):
            await user.stream_chat("Hi").collect()


async def test_slow_first_token_reaches_its_timeout(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = stream_of(server.event(server.piece("")), hang=True)
    async with client(server, timeouts=Timeouts(first_token=0.1), retries=RetryPolicy(max_attempts=1)) as user:
        with pytest.raises(RequestTimeout, match=r"0\.1 s \(timeouts\.first_token\)") as caught:
            await user.stream_chat("Hi").collect()

    assert caught.value.phase == "first_token"


async def test_slow_headers_reach_the_timeout_of_the_first_token(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = hang
    async with client(server, timeouts=Timeouts(first_token=0.1), retries=RetryPolicy(max_attempts=1)) as user:
        with pytest.raises(RequestTimeout, match="first_token"):
            await user.stream_chat("Hi").collect()


@pytest.mark.parametrize("keeps_alive", [False, True])
async def test_stalled_stream_reaches_its_timeout(server: FakeVLLMServer, keeps_alive: bool) -> None:
    """Bytes that carry no token do not count: a slow loris sends comments."""
    pings = (b": ping\n\n",) * 100 if keeps_alive else ()
    server.answers[CHAT] = stream_of(server.event(server.piece("Hello")), *pings, seconds=0.02, hang=True)
    async with client(server, timeouts=Timeouts(between_tokens=0.2)) as user:
        with pytest.raises(StreamTimeout, match="between_tokens") as caught:
            await user.stream_chat("Hi").collect()

    assert (caught.value.phase, caught.value.partial_content) == ("between_tokens", "Hello")
    assert isinstance(caught.value, RequestTimeout)


async def test_whole_timeout_ends_an_endless_stream(server: FakeVLLMServer) -> None:
    server.words, server.word_seconds = ("a",) * 10_000, 0.01
    async with client(server) as user:
        with pytest.raises(StreamTimeout, match="whole") as caught:
            await user.stream_chat("Hi", timeout=0.2).collect()

    assert caught.value.phase == "whole"


async def test_stream_starts_again_when_asked(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = [stream_of(server.event(server.piece("Bad")), seconds=0.02, abort=True)]
    async with client(server, retries=RetryPolicy(restart_streams=True, base_delay=0)) as user:
        stream = user.stream_chat("Hi")
        deltas = [(delta.content, delta.restarted) async for delta in stream]

        assert deltas[:2] == [("Bad", False), ("", True)]
        assert "".join(text for text, _ in deltas[2:]) == "Hello world" == stream.response.content
        assert stream.response.attempts == 2
        assert in_flight(user) == 0


async def test_connection_is_used_again_after_a_stream(server: FakeVLLMServer) -> None:
    async with client(server) as user:
        for _ in range(3):
            await user.stream_chat("Hi").collect()
        assert user._transport is not None
        connector = user._transport._session.connector
        assert connector is not None
        assert sum(map(len, connector._conns.values())) == 1


async def test_stream_that_was_closed_before_it_began_sends_nothing(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url, model="tiny") as client:
        stream = client.stream_chat("Hi")
        await stream.aclose()
        with pytest.raises(StreamInterrupted, match="closed before it was sent"):
            await stream.collect()
        with pytest.raises(StreamInterrupted, match="closed before it was sent"):
            await anext(stream)

    assert server.requests == []


async def test_time_of_the_first_token_is_that_of_the_first_chunk_of_a_text(server: FakeVLLMServer) -> None:
    """A token that is a part of a character has no text yet."""
    server.words, server.word_seconds = ("", "", "a"), 0.15
    async with client(server) as user:
        response = await user.stream_completions("Hi").collect()
    assert response.time_to_first_token is not None
    assert response.latency - response.time_to_first_token > 0.3
