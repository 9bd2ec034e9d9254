from __future__ import annotations

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, hang, stream_of
from vllm_operator.client import (
    AsyncVLLMClient,
    ClientConfig,
    RequestTimeout,
    RetryPolicy,
    StreamInterrupted,
    StreamTimeout,
    Timeouts,
)
from vllm_operator.client.config import Limits
from vllm_operator.client.raw_call import RawRequest, described, forwarded, usage_in_body, usage_in_events

CHAT = "/v1/chat/completions"
STREAM = RawRequest("POST", CHAT, {}, b'{"model": "tiny", "stream": true}', None)


def client(server: FakeVLLMServer, **changes: object) -> AsyncVLLMClient:
    values: dict[str, object] = {"base_url": server.url, "retries": RetryPolicy(max_attempts=1)}
    return AsyncVLLMClient(ClientConfig(**(values | changes)))  # type: ignore[arg-type]


async def read(user: AsyncVLLMClient) -> bytes:
    answer = await user.raw_caller().send(STREAM)
    assert answer.stream is not None
    body = b""
    while chunk := await answer.stream.next_chunk():
        body += chunk
    return body


async def test_body_of_a_stream_comes_through_unchanged(server: FakeVLLMServer) -> None:
    async with client(server) as user:
        body = await read(user)
        assert body.endswith(b"data: [DONE]\n\n")
        assert [endpoint.in_flight for endpoint in user._executor.pool.endpoints] == [0]


async def test_slow_and_endless_streams_reach_their_bounds(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = [stream_of(server.event(server.piece("a")), hang=True), stream_of(hang=True), hang]
    async with client(server, timeouts=Timeouts(first_token=0.1, between_tokens=0.1, whole=0.5)) as user:
        with pytest.raises(StreamTimeout, match="between_tokens"):
            await read(user)
        with pytest.raises(RequestTimeout, match="first_token"):
            await read(user)
        with pytest.raises(RequestTimeout, match="whole"):
            await read(user)
    async with client(server, limits=Limits(max_response_bytes=1024)) as user:
        server.words = ("x" * 2000,)
        with pytest.raises(StreamInterrupted, match="max_response_bytes"):
            await read(user)


async def test_stream_that_ends_before_it_begins_is_an_error(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = stream_of()
    async with client(server) as user:
        with pytest.raises(StreamInterrupted, match="before it began"):
            await read(user)


def test_model_and_stream_are_read_from_the_body() -> None:
    assert described(b'{"model": "m", "stream": true}') == ("m", True)
    assert described(b'{"model": 3}') == ("", False)
    assert described(b"--boundary") == ("", False)
    assert described(b"[]") == ("", False)
    assert described(None) == ("", False)


def test_usage_is_read_from_the_end_of_a_stream() -> None:
    tail = b'cut"}\n\ndata: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":9}}\n\ndata: [DONE]\n\n'
    found = usage_in_events(tail)

    assert found is not None
    assert found.completion_tokens == 9
    assert usage_in_events(b"data: [DONE]\n\n") is None
    assert usage_in_body(b"nope") is None
    assert usage_in_body(b"[]") is None


def test_headers_of_the_connection_are_not_forwarded() -> None:
    assert forwarded({"Content-Length": "3", "Transfer-Encoding": "chunked", "X-A": "b"}) == [("X-A", "b")]
