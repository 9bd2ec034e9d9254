"""The load counts each way in which a request can be lost, against a fake vLLM."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tools.drain.load import Answer, BadAnswerError, Load, Outcome, check, client_contexts

CHOICE = {"finish_reason": "length", "text": "hello"}
WHOLE_STREAM = f"data: {json.dumps({'choices': [CHOICE]})}\n\ndata: [DONE]\n\n"
Behaviour = Callable[[web.Request, bool], web.StreamResponse]


def whole(_: web.Request, streamed: bool) -> web.StreamResponse:
    """Answer as vLLM does."""
    return web.Response(text=WHOLE_STREAM) if streamed else web.json_response({"choices": [CHOICE]})


def cut(request: web.Request, streamed: bool) -> web.StreamResponse:
    """End a stream before its last event, and the connection before any other answer."""
    if streamed:
        return web.Response(text=WHOLE_STREAM.partition("data: [DONE]")[0])
    assert request.transport
    request.transport.abort()
    return web.Response()


def failing(_: web.Request, streamed: bool) -> web.StreamResponse:
    """Answer as vLLM does after SIGTERM."""
    return web.Response(status=500)


@asynccontextmanager
async def fake_server(behaviour: Behaviour) -> AsyncIterator[str]:
    """Yield the URL of a fake vLLM."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return behaviour(request, (await request.json())["stream"])

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def outcome_of(behaviour: Behaviour, requests: int = 6) -> Outcome:
    async with fake_server(behaviour) as url:
        with Load(url) as load:
            deadline = time.monotonic() + 20
            while load.so_far().total < requests and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return await asyncio.to_thread(load.stop)


async def test_whole_answers_are_no_loss() -> None:
    outcome = await outcome_of(whole)

    assert outcome.lost == []
    assert outcome.total == len(outcome.seconds) >= 6
    assert set(outcome.clients) <= set(client_contexts())


@pytest.mark.parametrize("behaviour", [cut, failing], ids=["cut off", "HTTP 500"])
async def test_each_request_without_a_whole_answer_is_lost_once(behaviour: Behaviour) -> None:
    outcome = await outcome_of(behaviour)

    assert len(outcome.lost) == outcome.total >= 6
    assert outcome.seconds == []


async def test_refused_connections_count_as_lost_unless_they_are_expected() -> None:
    async with fake_server(whole) as url:
        pass
    with Load(url) as load:
        await asyncio.sleep(1)
        assert load.so_far().lost
        lost = len(load.so_far().lost)
        load.expect_refusals = True
        await asyncio.sleep(2.5)
        outcome = await asyncio.to_thread(load.stop)

    assert outcome.refused
    assert len(outcome.lost) <= lost + len(client_contexts())


async def test_inactive_clients_send_nothing() -> None:
    async with fake_server(whole) as url:
        load = Load(url)
        load.active = 0
        with load:
            await asyncio.sleep(0.6)
            outcome = await asyncio.to_thread(load.stop)

    assert outcome.total == 0


@pytest.mark.parametrize(
    ("answer", "streamed"),
    [
        (Answer(500, ""), False),
        (Answer(200, json.dumps({"choices": [{**CHOICE, "finish_reason": "abort"}]})), False),
        (Answer(200, WHOLE_STREAM.replace("[DONE]", "")), True),
        (Answer(200, ""), True),
    ],
    ids=["status", "aborted", "cut off", "empty"],
)
def test_answer_that_is_not_whole_is_refused(answer: Answer, streamed: bool) -> None:
    with pytest.raises(BadAnswerError):
        check(answer, streamed)
