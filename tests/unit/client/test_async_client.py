from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer, abort_connection, hang, status
from vllm_operator.client import (
    AsyncVLLMClient,
    AuthenticationFailed,
    ClientClosed,
    ClientConfig,
    ConnectionFailed,
    HealthCheckConfig,
    InvalidResponse,
    ModelNotFound,
    Observer,
    RequestInfo,
    RequestOutcome,
    RequestTimeout,
    ResponseTooLarge,
    RetryPolicy,
    Timeouts,
)
from vllm_operator.client.config import Limits

CHAT = "/v1/chat/completions"


def config(server: FakeVLLMServer, **changes: object) -> ClientConfig:
    values: dict[str, object] = {"base_url": server.url, "retries": RetryPolicy(base_delay=0.001), "api_key": ""}
    return ClientConfig(**(values | changes))  # type: ignore[arg-type]


async def test_chat_returns_the_answer_with_its_numbers(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        response = await client.chat("Hi", temperature=0.0, extra_body={"top_k": 3})

    assert response.content == "Hello world"
    assert response.usage is not None
    assert response.usage.total_tokens == 7
    assert response.finish_reason == "stop"
    assert response.latency > 0
    body = server.bodies()[0]
    assert body == {
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.0,
        "model": "tiny",
        "top_k": 3,
    }


async def test_model_is_asked_for_once(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        for _ in range(3):
            await client.chat("Hi")

    assert len(server.bodies("/v1/models")) == 1


async def test_given_model_is_not_asked_for(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url, model="given") as client:
        await client.chat("Hi")
        await client.chat("Hi", model="other")

    assert [body["model"] for body in server.bodies()] == ["given", "other"]
    assert server.bodies("/v1/models") == []


async def test_every_operation_returns_typed_values(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        assert (await client.completions("Hi", max_tokens=5)).content == "Hello world"
        assert (await client.embeddings(["a", "b"])).vectors == [(0.0, 0.5), (1.0, 0.5)]
        assert [r.index for r in (await client.rerank("q", ["a", "b"], top_n=2)).results] == [1, 0]
        assert (await client.score("a", "b")).scores == (0.25,)
        assert (await client.tokenize("Hi")).tokens == (1, 2)
        assert (await client.tokenize([{"role": "user", "content": "Hi"}])).count == 2
        assert await client.detokenize([1]) == "Hello"
        assert (await client.models())[0].max_model_len == 1024
        assert await client.version() == "0.32.0"
        assert (await client.health())[0].healthy
        assert (await client.wait_until_ready()).id == "tiny"


async def test_key_and_headers_are_sent(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(config(server, api_key="secret", headers={"X-Team": "a"})) as client:
        await client.chat("Hi", extra_headers={"X-Request-Id": "r1"})

    headers = server.requests[-1][1]
    assert headers["Authorization"] == "Bearer secret"
    assert (headers["X-Team"], headers["X-Request-Id"]) == ("a", "r1")


async def test_one_connection_serves_many_requests(server: FakeVLLMServer) -> None:
    peers = set()

    async def remember(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({"version": "1"})

    server.answers["/version"] = remember
    async with AsyncVLLMClient(server.url) as client:
        for _ in range(5):
            await client.version()

    assert len(peers) == 1


async def test_broken_connection_is_tried_again(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = [abort_connection]
    async with AsyncVLLMClient(config(server)) as client:
        response = await client.chat("Hi")

    assert response.attempts == 2


async def test_refused_connection_is_named() -> None:
    async with FakeVLLMServer() as server:
        pass
    async with AsyncVLLMClient(config(server, model="m")) as client:
        with pytest.raises(ConnectionFailed, match="refuses the connection") as caught:
            await client.chat("Hi")

    assert caught.value.attempts == 3


async def test_request_that_cannot_get_better_is_sent_once(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = status(401, "Unauthorized")
    async with AsyncVLLMClient(config(server, model="m")) as client:
        with pytest.raises(AuthenticationFailed, match="api_key_file"):
            await client.chat("Hi")

    assert len(server.bodies()) == 1


async def test_discovered_model_is_forgotten_when_it_is_gone(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(config(server)) as client:
        await client.chat("Hi")
        server.model = "next"
        server.answers[CHAT] = [status(404, "The model `tiny` does not exist.", param="model")]
        with pytest.raises(ModelNotFound):
            await client.chat("Hi")
        assert (await client.chat("Hi")).model == "next"


async def test_whole_timeout_bounds_all_attempts(server: FakeVLLMServer) -> None:
    server.answers[CHAT] = hang
    async with AsyncVLLMClient(config(server, model="m")) as client:
        with pytest.raises(RequestTimeout, match=r"within 0\.1 s \(timeouts\.whole\)") as caught:
            await client.chat("Hi", timeout=0.1)

    assert caught.value.phase == "whole"
    assert not caught.value.retryable


async def test_large_answer_is_refused(server: FakeVLLMServer) -> None:
    server.words = ("x" * 5000,)
    async with AsyncVLLMClient(config(server, limits=Limits(max_response_bytes=2000))) as client:
        with pytest.raises(ResponseTooLarge, match="2,000 bytes"):
            await client.chat("Hi")


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"id":"a","model":"m","choices":[]}', b'{"id":1,"model":2,"choices":[{"message":3}]}']
)
async def test_answer_of_something_else_is_named(server: FakeVLLMServer, body: bytes) -> None:
    async def other(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    server.answers[CHAT] = other
    async with AsyncVLLMClient(config(server, model="m")) as client:
        with pytest.raises(InvalidResponse, match=server.url):
            await client.chat("Hi")

    assert len(server.bodies()) == 1


async def test_cancelled_request_closes_its_connection(server: FakeVLLMServer) -> None:
    server.word_seconds = 30
    async with AsyncVLLMClient(config(server, model="m")) as client:
        task = asyncio.create_task(client.chat("Hi"))
        await server.until(lambda: bool(server.bodies()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: server.closed_early > 0)


async def test_closed_client_says_so(server: FakeVLLMServer) -> None:
    client = AsyncVLLMClient(server.url)
    await client.aclose()

    with pytest.raises(ClientClosed):
        await client.chat("Hi")


def test_client_may_be_used_in_one_event_loop_after_the_other() -> None:
    client = AsyncVLLMClient("http://127.0.0.1:1", model="m")

    async def use() -> str:
        async with FakeVLLMServer() as server:
            client.config = client.config.model_copy(update={"base_url": server.url})
            client._executor.pool.endpoints[0].url = server.url
            return (await client.chat("Hi")).content

    assert [asyncio.run(use()) for _ in range(2)] == ["Hello world", "Hello world"]


async def test_unknown_option_is_refused_before_anything_is_sent(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        with pytest.raises(TypeError, match="did you mean 'temperature'"):
            await client.chat("Hi", temprature=0)  # type: ignore[call-arg]

    assert server.requests == []


async def test_unhealthy_endpoint_gets_no_requests_until_it_is_healthy_again(server: FakeVLLMServer) -> None:
    async with FakeVLLMServer() as other:
        other.answers["/health"] = status(503)
        checks = HealthCheckConfig(interval=0.02)
        user = AsyncVLLMClient(config(server, base_url=(server.url, other.url), model="m", health_checks=checks))
        async with user as client:
            await client.chat("Hi")
            await server.until(lambda: not client._executor.pool.endpoints[1].healthy)
            before = len(other.bodies())
            for _ in range(6):
                await client.chat("Hi")
            assert len(other.bodies()) == before
            other.answers.clear()
            await server.until(lambda: client._executor.pool.endpoints[1].healthy)
            for _ in range(6):
                await client.chat("Hi")
            assert len(other.bodies()) > before

    assert [task for task in asyncio.all_tasks() if task.get_name() == "vllm-client-health-checks"] == []


async def test_dead_endpoint_costs_no_answer(server: FakeVLLMServer) -> None:
    async with FakeVLLMServer() as gone:
        pass
    async with AsyncVLLMClient(config(server, base_url=(gone.url, server.url), model="m")) as client:
        answers = await asyncio.gather(*(client.chat("Hi") for _ in range(20)))

    assert {answer.endpoint for answer in answers} == {server.url}


async def test_numbers_are_keys_of_a_logit_bias(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        await client.chat("Hi", logit_bias={123: -100.0})

    assert server.bodies()[0]["logit_bias"] == {"123": -100.0}


async def test_header_that_would_split_the_request_is_refused_before_it_is_sent(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url, model="m") as client:
        with pytest.raises(ValueError, match="headers: 'X-A'"):
            await client.chat("Hi", extra_headers={"X-A": "b\r\nEvil: 1"})

    assert server.bodies() == []


@pytest.mark.parametrize("given", [0.2, Timeouts(whole=0.2)])
async def test_time_to_ask_for_the_model_is_part_of_the_deadline(
    server: FakeVLLMServer, given: float | Timeouts
) -> None:
    server.answers["/v1/models"] = hang
    async with AsyncVLLMClient(server.url) as client:
        async with asyncio.timeout(2):
            with pytest.raises(RequestTimeout):
                await client.chat("Hi", timeout=given)
            with pytest.raises(RequestTimeout):
                await client.stream_chat("Hi", timeout=given).collect()


async def test_model_and_answer_share_one_deadline(server: FakeVLLMServer) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.json_response({"object": "list", "data": [{"id": "tiny"}]})

    server.answers["/v1/models"] = late
    server.answers[CHAT] = hang
    started = asyncio.get_running_loop().time()
    async with AsyncVLLMClient(server.url) as client:
        with pytest.raises(RequestTimeout):
            await client.chat("Hi", timeout=0.5)

    assert asyncio.get_running_loop().time() - started < 0.75


class Ends(Observer):
    def __init__(self) -> None:
        self.started = self.finished = 0

    def request_started(self, request: RequestInfo) -> None:
        self.started += 1

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        self.finished += 1


async def test_call_that_cannot_be_sent_leaves_no_active_request(server: FakeVLLMServer, tmp_path: Path) -> None:
    ends = Ends()
    async with AsyncVLLMClient(server.url, model="tiny", observers=[ends]) as client:
        with pytest.raises(ValueError, match="a b"):
            await client.chat("Hi", extra_headers={"a b": "c"})
        with pytest.raises(ValueError, match="a b"):
            await client.stream_chat("Hi", extra_headers={"a b": "c"}).collect()
        await client.chat("Hi")
    without_file = ClientConfig(base_url=server.url, model="tiny", api_key_file=tmp_path / "none")
    async with AsyncVLLMClient(without_file, observers=[ends]) as client:
        with pytest.raises(ValueError, match="api_key_file"):
            await client.chat("Hi")

    assert ends.started == ends.finished == 1


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "a." + "b" * 64 + ".c"])
async def test_host_that_is_no_name_is_an_error_of_the_client(host: str) -> None:
    async with AsyncVLLMClient(f"http://{host}", model="tiny") as client:
        with pytest.raises(ConnectionFailed, match="no name of DNS") as caught:
            await client.chat("Hi")

    assert not caught.value.retryable


async def test_header_of_the_caller_comes_before_the_key_of_the_environment(
    server: FakeVLLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "environment")
    of_config = ClientConfig(base_url=server.url, model="tiny", headers={"authorization": "Bearer config"})
    async with AsyncVLLMClient(of_config) as client:
        await client.chat("Hi")
        await client.chat("Hi", extra_headers={"authorization": "Bearer call"})
    async with AsyncVLLMClient(server.url, model="tiny") as client:
        await client.chat("Hi", extra_headers={"authorization": "Bearer call"})
        await client.chat("Hi")

    sent = [headers.getall("Authorization") for _, headers, _ in server.requests]  # type: ignore[attr-defined]
    assert sent == [["Bearer config"], ["Bearer call"], ["Bearer call"], ["Bearer environment"]]


async def test_client_that_nobody_closes_leaves_no_task(server: FakeVLLMServer) -> None:
    client = AsyncVLLMClient(
        ClientConfig(base_url=(server.url, server.url.replace("127.0.0.1", "localhost")), model="tiny")
    )
    await client.models()
    del client
    gc.collect()
    await asyncio.sleep(0.05)

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "vllm-client-health-checks"]


async def test_second_event_loop_at_the_same_time_is_refused(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url) as client:
        await client.chat("Hi")
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, client.chat("Hi"))
        await client.chat("Hi")
