from __future__ import annotations

import time

import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.benchmark.clients import Clients
from vllm_operator.benchmark.generator import Generator, Workload
from vllm_operator.benchmark.prompts import Prompts
from vllm_operator.benchmark.records import MeasuredRequest
from vllm_operator.benchmark.shapes import parse_load
from vllm_operator.client import AsyncVLLMClient, ClientConfig, RetryPolicy

PATH = "/v1/completions"


run_notes: list[str] = []
"""Notes of the last run."""


async def run(server: FakeVLLMServer, load: str, most: int, turns: int = 3) -> list[MeasuredRequest]:
    config = ClientConfig(base_url=server.url, api_key=SecretStr(""), retries=RetryPolicy(max_attempts=1))
    begin = time.monotonic()
    began: list[str] = []
    async with Clients(lambda: [server.url], lambda url: AsyncVLLMClient(config, model="tiny")) as clients:
        generator = Generator(
            clients, Prompts(8), lambda: time.monotonic() - begin, lambda stage: began.append(stage.name)
        )
        await generator.run(Workload(parse_load(load), seconds=30, most_requests=most, output_tokens=2, turns=turns))
    run_notes[:] = generator.notes()
    assert began == list(dict.fromkeys(request.stage for request in generator.requests))
    return generator.requests


@pytest.mark.parametrize("load", ["concurrent=3", "constant=200", "poisson=200", "turns=2"])
async def test_each_shape_sends_its_requests(load: str) -> None:
    async with FakeVLLMServer() as server:
        requests = await run(server, load, most=12)
    assert len(requests) == 12
    assert {request.stage for request in requests} == {load}
    assert all(request.error == "" and request.first_token is not None for request in requests)
    assert all(request.latency >= (request.first_token or 0) for request in requests)
    body = server.bodies(PATH)[0]
    assert (body["max_tokens"], body["min_tokens"], body["ignore_eos"], body["stream"]) == (2, 2, True, True)


async def test_a_sweep_has_one_stage_for_each_level() -> None:
    async with FakeVLLMServer() as server:
        requests = await run(server, "sweep=1,2", most=4)
    assert [request.stage for request in requests] == ["concurrent=1"] * 4 + ["concurrent=2"] * 4


async def test_concurrent_requests_stay_within_their_number() -> None:
    open_now = highest = 0

    async with FakeVLLMServer() as server:

        async def answer(request: web.Request) -> web.StreamResponse:
            nonlocal open_now, highest
            open_now += 1
            highest = max(highest, open_now)
            try:
                return web.json_response({"error": {"message": "full", "code": 503}}, status=503)
            finally:
                open_now -= 1

        server.answers[PATH] = answer
        await run(server, "concurrent=2", most=6)
    assert highest <= 2


async def test_turns_grow_and_begin_again() -> None:
    async with FakeVLLMServer() as server:
        requests = await run(server, "turns=1", most=6, turns=3)
    prompts = [body["prompt"] for body in server.bodies(PATH)]
    assert [request.turn for request in requests] == [1, 2, 3, 1, 2, 3]
    assert prompts[1].startswith(prompts[0] + "Hello world")
    assert prompts[2].startswith(prompts[1])
    assert not prompts[3].startswith(prompts[0])


async def test_errors_are_recorded_and_end_a_conversation() -> None:
    async with FakeVLLMServer() as server:

        async def refuse(request: web.Request) -> web.StreamResponse:
            return web.json_response({"error": {"message": "no such model", "code": 404}}, status=404)

        server.answers[PATH] = refuse
        requests = await run(server, "turns=1", most=3)
    assert [request.turn for request in requests] == [1, 1, 1]
    assert all("no such model" in request.error for request in requests)
    assert all(request.first_token is None for request in requests)


async def test_conversation_that_fills_the_context_is_no_failure() -> None:
    async with FakeVLLMServer() as server:

        async def refuse(request: web.Request) -> web.StreamResponse:
            return web.json_response({"error": {"message": "maximum context length", "code": 400}}, status=400)

        server.answers[PATH] = [lambda request: server._stream(request, {}, False), refuse] * 2
        requests = await run(server, "turns=1", most=4)
    assert [(request.turn, request.error) for request in requests] == [(1, ""), (1, "")]
    assert run_notes == [
        "turns=1: 2 conversations ended early, at the longest context of the model: they are no failures"
    ]
