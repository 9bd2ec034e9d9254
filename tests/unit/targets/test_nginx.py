from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import Answer, FakeVLLMServer
from tests.helpers.real_nginx import PROGRAM, nginx
from vllm_operator.errors import TemplateError
from vllm_operator.targets.nginx import DOCKER_RESOLVER, Balancer, nginx_configuration


def test_requests_go_to_the_replica_with_the_fewest_connections() -> None:
    text = nginx_configuration("mistral", Balancer(["a:8000", "b:8000"]))
    assert "least_conn;" in text
    assert re.findall(r"server (\S+) max_fails", text) == ["a:8000", "b:8000"]
    assert "proxy_next_upstream_tries 2;" in text


def test_one_request_is_sent_to_three_replicas_at_most() -> None:
    text = nginx_configuration("m", Balancer([f"r{index}:8000" for index in range(5)]))
    assert "proxy_next_upstream_tries 3;" in text


def test_names_are_resolved_again_and_addresses_are_not() -> None:
    names = nginx_configuration("m", Balancer(["a:8000"], resolver=DOCKER_RESOLVER))
    addresses = nginx_configuration("m", Balancer(["a:8000"]))
    assert "fail_timeout=10s resolve;" in names
    assert "resolve" not in addresses
    # Nothing else differs, so that a test with addresses is a test of both.
    lines = [line.replace(" resolve;", ";") for line in names.splitlines()]
    extra = [line for line in lines if "resolver" in line or "may change when it restarts" in line]
    assert [line for line in lines if line not in extra] == addresses.splitlines()


def test_only_paths_behind_the_api_key_are_open() -> None:
    text = nginx_configuration("m", Balancer(["a:8000"]))
    assert re.findall(r"location (.*?) \{", text) == ["/v1/", "/v2/", "/inference/", "= /health", "/"]


def test_an_address_cannot_become_syntax() -> None:
    with pytest.raises(TemplateError):
        nginx_configuration("m", Balancer(["a:8000; } server {"]))


needs_nginx = pytest.mark.skipif(PROGRAM is None, reason="nginx is not installed")
PATH = "/v1/completions"
BODY = {"model": "tiny", "prompt": "a"}


@asynccontextmanager
async def behind_nginx(folder: Path) -> AsyncIterator[tuple[str, FakeVLLMServer, FakeVLLMServer]]:
    """Two stand-ins of vLLM behind a real nginx, and its URL."""
    async with FakeVLLMServer() as first, FakeVLLMServer() as second:
        with nginx(folder, [one.url.removeprefix("http://") for one in (first, second)]) as url:
            yield url, first, second


async def post(url: str, times: int, path: str = PATH) -> list[int]:
    """Status of each of some requests, one after the other, each on a new connection."""
    found = []
    for _ in range(times):
        async with aiohttp.ClientSession() as session, session.post(url + path, json=BODY) as answer:
            await answer.read()
            found.append(answer.status)
    return found


def refusing(status: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no", "code": status}}, status=status)

    return answer


@needs_nginx
async def test_a_replica_that_drains_costs_no_request(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        # As vLLM 0.32 answers new requests after SIGTERM, while the running ones end.
        first.answers[PATH] = refusing(500)
        assert await post(url, 20) == [200] * 20
        # After three failures it gets no request for ten seconds.
        assert len(first.requests) == 3
        assert len(second.requests) == 20


@needs_nginx
async def test_a_replica_that_is_gone_costs_no_request(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        await first.__aexit__()
        assert await post(url, 10) == [200] * 10
        assert len(second.requests) == 10


@needs_nginx
@pytest.mark.parametrize("status", [400, 401, 404, 429])
async def test_answers_to_the_client_are_passed_on_and_not_repeated(tmp_path: Path, status: int) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        first.answers[PATH] = second.answers[PATH] = refusing(status)
        assert await post(url, 1) == [status]
        assert len(first.requests) + len(second.requests) == 1


@needs_nginx
async def test_a_request_that_fails_everywhere_is_sent_once_to_each(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        first.answers[PATH] = second.answers[PATH] = refusing(503)
        assert await post(url, 1) == [503]
        assert (len(first.requests), len(second.requests)) == (1, 1)


@needs_nginx
async def test_an_answer_that_has_begun_is_cut_and_not_repeated(tmp_path: Path) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: {}\n\n")
        assert request.transport
        request.transport.abort()
        return response

    async with behind_nginx(tmp_path) as (url, first, second):
        first.answers[PATH] = second.answers[PATH] = cut
        with pytest.raises(aiohttp.ClientError):
            await post(url, 1)
        assert len(first.requests) + len(second.requests) == 1


@needs_nginx
async def test_tokens_arrive_one_by_one(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        go = asyncio.Event()

        async def slowly(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            # The second token is only made when the client has the first one: a buffer would stop here for good.
            await asyncio.wait_for(go.wait(), 20)
            await response.write(b"data: [DONE]\n\n")
            return response

        first.answers[PATH] = second.answers[PATH] = slowly
        async with aiohttp.ClientSession() as session, session.post(url + PATH, json=BODY) as answer:
            assert await answer.content.readline() == b"data: 1\n"
            go.set()
            assert (await answer.read()).endswith(b"data: [DONE]\n\n")


@needs_nginx
async def test_requests_go_to_the_idle_replica(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        release = asyncio.Event()
        started = asyncio.Event()

        async def hold(request: web.Request) -> web.StreamResponse:
            started.set()
            await asyncio.wait_for(release.wait(), 20)
            return web.json_response({})

        first.answers[PATH] = [hold]
        second.answers[PATH] = [hold]
        waiting = asyncio.create_task(post(url, 1))
        await asyncio.wait_for(started.wait(), 10)
        busy, idle = (first, second) if first.requests else (second, first)
        idle.answers.clear()
        assert await post(url, 5) == [200] * 5
        assert (len(busy.requests), len(idle.requests)) == (1, 5)
        release.set()
        assert await waiting == [200]


@needs_nginx
@pytest.mark.parametrize("path", ["/metrics", "/invocations", "/tokenize", "/", "/load"])
async def test_other_paths_are_closed(tmp_path: Path, path: str) -> None:
    async with behind_nginx(tmp_path) as (url, first, second):
        assert await post(url, 1, path) == [404]
        assert first.requests + second.requests == []
