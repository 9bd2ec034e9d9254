from __future__ import annotations

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, status, stream_of
from vllm_operator.client import ClientConfig, InvalidResponse, ServerFailed, StreamInterrupted
from vllm_operator.client.event_source import EventSource
from vllm_operator.client.transport import HttpRequest, Transport


async def source(server: FakeVLLMServer, transport: Transport) -> EventSource:
    response = await transport.send(server.url, HttpRequest("GET", "/x"))
    return EventSource(response, transport.limits)


async def test_chunks_before_an_error_are_given_first(server: FakeVLLMServer) -> None:
    piece = server.event(server.piece("a"))
    server.answers["/x"] = stream_of(piece + piece + server.event({"error": {"message": "no", "code": 500}}))
    transport = Transport(ClientConfig())
    events = await source(server, transport)

    assert len(await events.chunks()) == 2
    with pytest.raises(ServerFailed):
        await events.chunks()
    events.close()
    await transport.close()


async def test_end_without_the_last_event_is_an_interruption(server: FakeVLLMServer) -> None:
    server.answers["/x"] = stream_of()
    transport = Transport(ClientConfig())
    with pytest.raises(StreamInterrupted):
        await (await source(server, transport)).chunks()
    await transport.close()


async def test_answer_is_checked_before_it_is_read(server: FakeVLLMServer) -> None:
    transport = Transport(ClientConfig())
    server.answers["/x"] = [status(500), status(200)]
    with pytest.raises(ServerFailed):
        await (await source(server, transport)).check()
    with pytest.raises(InvalidResponse):
        await (await source(server, transport)).check()
    await transport.close()


async def test_body_that_goes_on_after_the_last_event_is_cut_off(server: FakeVLLMServer) -> None:
    server.answers["/x"] = stream_of(b"data: [DONE]\n\n", b"more", b"more", seconds=0.01, hang=True)
    transport = Transport(ClientConfig())
    events = await source(server, transport)
    await events.chunks()
    await events.finish()

    assert events.done
    await transport.close()
