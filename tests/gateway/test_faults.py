"""What faulty and hostile clients and servers get from the real Envoy, and that others lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.gateway_process import GatewayProcess, server_state
from tests.gateway.load import Load
from tests.gateway.requests import CHAT, chat, post, raw
from tests.helpers.fake_vllm_server import FakeVLLMServer

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"


def body_of(size: int) -> bytes:
    return json.dumps(chat("x" * size)).encode()


async def until_it_serves(session: aiohttp.ClientSession, gateway: GatewayProcess) -> None:
    assert (await post(session, gateway)).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"messages": []}', "'model' is missing"),
        (b'{"model": null}', "'model' is missing"),
        (b'{"model": 5}', "'model' is missing"),
        (b'{"a": {"model": "tiny"}, "b": "\\"model\\": \\"tiny\\""}', "'model' is missing"),
        (b'["model", "tiny"]', "no JSON object"),
        (b'{"model": "tiny"', "no complete JSON object"),
        (b'{"model": "tiny', "no complete JSON object"),
        (b"model=tiny", "no JSON object"),
        (b" ", "no JSON object"),
        (b'{"model":"tiny","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "200 levels"),
    ],
)
async def test_a_body_without_a_model_is_refused(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], body: bytes, message: str
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        answer = await post(session, gateway, body)
        assert answer.status == 400
        assert message in answer.message
        assert not replicas[0].requests


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"tiny","messages":[]}',
        b'  {"messages":[{"content":"{\\"model\\":\\"x\\"}"}], "model" : "tiny"}',
        b'{"\\u006dodel":"t\\u0069ny"}',
        b'{"model":"nope","model":"tiny"}',
        b'{"stop":["}","]","\\\\\\""],"model":"tiny","n":[1,[2,{"model":"no"}]]}',
    ],
)
async def test_the_model_is_found_wherever_json_has_it(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], body: bytes
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        assert (await post(session, gateway, body)).status == 200


async def test_long_bodies_are_refused_and_those_below_the_limit_pass(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async def long(request: web.Request) -> web.Response:
        return web.json_response({"bytes": request.content_length})

    gateway = GatewayProcess({"limits": [{"maxBodyBytes": 30_000_000}]})
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        for size, status in ((29_000_000, 200), (31_000_000, 413), (40_000_000, 413)):
            answer = await post(session, gateway, body_of(size))
            assert answer.status == status
            if status == 413:
                assert "shorten it" in answer.message

        async def endless() -> object:
            yield b'{"model":"tiny","x":"'
            for _ in range(80):
                yield b"x" * 1_000_000

        with contextlib.suppress(aiohttp.ClientError):
            async with session.post(gateway.url + CHAT, data=endless()) as response:
                assert response.status == 413
        await until_it_serves(session, gateway)


async def test_header_bombs_are_refused(session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        many = b"".join(b"x-%d: a\r\n" % number for number in range(500))
        long = b"x-long: " + b"a" * 100_000 + b"\r\n"
        for bomb in (many, long):
            answer = await raw(gateway, HEAD + bomb + b"content-length: 0\r\n\r\n", 2)
            assert answer.startswith(b"HTTP/1.1 431")
        await until_it_serves(session, gateway)


@pytest.mark.parametrize(
    "lines",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"x-a: b\r\n c: d\r\ncontent-length: 5\r\n",
        b"content-length: -5\r\n",
        b"content-length : 5\r\n",
        b"x-a: b\x00c\r\ncontent-length: 5\r\n",
    ],
)
async def test_smuggling_is_refused(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], lines: bytes
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        hidden = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        answer = await raw(gateway, HEAD + lines + b"\r\n0\r\n\r\n" + hidden, 2)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), answer
        assert answer.count(b"HTTP/1.1") == 1
        assert not replicas[0].requests
        await until_it_serves(session, gateway)


async def test_slow_bodies_end_and_others_are_served(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vllm_operator.gateway.envoy.listeners.BODY_SECONDS", 2)
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        slow = [asyncio.create_task(raw(gateway, HEAD + b"content-length: 1000\r\n\r\n{", 10)) for _ in range(50)]
        await asyncio.sleep(0.2)
        await until_it_serves(session, gateway)
        for answer in await asyncio.gather(*slow):
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"did not arrive in time" in answer


async def test_clients_that_leave_end_their_requests_at_the_replica(replicas: list[FakeVLLMServer]) -> None:
    replica = replicas[0]
    replica.word_seconds = 0.5
    replica.words = ("word",) * 40
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replica))
    async with gateway:
        for stream in (True, False):
            body = json.dumps(chat(stream=stream)).encode()
            await raw(gateway, HEAD + b"content-length: %d\r\n\r\n" % len(body) + body, 1.0)
        await replica.until(lambda: replica.closed_early == 2)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REQUEST = b"\x83\x84\x86\x41\x01g"
"""Headers of HTTP/2: POST, /, http, :authority g."""


def rapid_reset() -> bytes:
    """Streams of HTTP/2 that are opened and reset at once."""
    frames = bytearray(PREFACE)
    for number in range(1, 4001, 2):
        stream = number.to_bytes(4, "big")
        frames += len(REQUEST).to_bytes(3, "big") + b"\x01\x04" + stream + REQUEST
        frames += b"\x00\x00\x04\x03\x00" + stream + b"\x00\x00\x00\x08"
    return bytes(frames)


def endless_headers() -> bytes:
    """Headers of HTTP/2 that go on without end: one HEADERS frame, and CONTINUATION frames."""
    stream = b"\x00\x00\x00\x01"
    field = b"\x40\x03x-a\x7f\x61" + b"a" * 224
    frames = bytearray(PREFACE + len(REQUEST).to_bytes(3, "big") + b"\x01\x00" + stream + REQUEST)
    for _ in range(4000):
        frames += len(field * 4).to_bytes(3, "big") + b"\x09\x00" + stream + field * 4
    return bytes(frames)


async def test_http2_rapid_reset_ends_the_connection_and_no_other(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    replicas[0].word_seconds = 0.2
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        running = asyncio.create_task(post(session, gateway, chat(stream=True)))
        await asyncio.sleep(0.1)
        await raw(gateway, rapid_reset(), 5)
        assert (await running).status == 200
        await until_it_serves(session, gateway)
        stats = await gateway.admin("/stats?filter=gateway.downstream_rq_too_many_premature_resets")
        assert int(stats.split(":")[1]) == 1


async def test_a_server_that_always_answers_500_shows_its_own_error(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async def broken(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "EngineDeadError", "code": 500}}, status=500)

    gateway = GatewayProcess()
    gateway.set(server_state("tiny", *replicas))
    for replica in replicas:
        replica.answers[CHAT] = broken
    async with gateway:
        answer = await post(session, gateway)
        assert (answer.status, answer.message) == (500, "EngineDeadError")
        assert sum(len(replica.requests) for replica in replicas) == 4


async def test_one_broken_replica_loses_no_request(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=503)

    async def gone(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    replicas[0].answers[CHAT], replicas[1].answers[CHAT] = broken, gone
    gateway = GatewayProcess({"routing": "LeastRequest"})
    gateway.set(server_state("tiny", *replicas))
    async with gateway:
        answers = await asyncio.gather(*(post(session, gateway, chat(f"{number}")) for number in range(60)))
        assert {answer.status for answer in answers} == {200}


async def test_garbage_of_a_server_becomes_an_error_of_the_gateway(
    session: aiohttp.ClientSession,
) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x00\xffgarbage that is no HTTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    async with server, FakeVLLMServer("other") as other:
        port = server.sockets[0].getsockname()[1]
        bad = FakeVLLMServer("tiny")
        bad.url = f"http://127.0.0.1:{port}"
        gateway = GatewayProcess()
        gateway.set(server_state("tiny", bad), server_state("other", other))
        async with gateway:
            answer = await post(session, gateway)
            assert answer.status in {502, 503}
            assert answer.json["error"]["code"] == answer.status
            assert (await post(session, gateway, chat(model="other"))).status == 200


async def test_a_server_that_never_answers_ends_with_504(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    replicas[0].answers[CHAT] = never
    gateway = GatewayProcess({"idleTimeoutSeconds": 1, "holding": {"timeoutSeconds": 0}})
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        answer = await post(session, gateway)
        assert answer.status == 504
        assert "did not answer in time" in answer.message


async def test_wrong_methods_are_refused(session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        for method in ("GET", "PUT", "DELETE", "TRACE", "PATCH"):
            async with session.request(method, gateway.url + CHAT) as response:
                assert response.status in {400, 405}


async def test_endless_headers_of_http2_end_the_connection(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        with contextlib.suppress(ConnectionError):
            await raw(gateway, endless_headers(), 3)
        await until_it_serves(session, gateway)
        assert not replicas[0].requests[1:]


@pytest.mark.parametrize("kind", ["headers", "endless"])
async def test_a_server_with_odd_headers_becomes_an_error_of_the_gateway(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], kind: str
) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1000)
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100_000 if kind == "endless" else 500):
                writer.write(b"x-%d: aaaaaaaaaaaaaaaaaaaa\r\n" % number)
                await writer.drain()
            writer.write(b"content-length: 0\r\n\r\n")
            writer.close()

    server = await asyncio.start_server(odd, "127.0.0.1", 0)
    async with server:
        bad = FakeVLLMServer("bad")
        bad.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = GatewayProcess()
        gateway.set(server_state("bad", bad), server_state("tiny", replicas[0]))
        async with gateway:
            answer = await post(session, gateway, chat(model="bad"))
            assert answer.status in {502, 503}
            assert answer.json["error"]["code"] == answer.status
            await until_it_serves(session, gateway)


async def test_hostile_clients_at_once_lose_nothing_for_others(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    deep = b'{"model":"tiny","x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    bomb = b"".join(b"x-%d: a\r\n" % number for number in range(500))
    forms = (
        HEAD + bomb + b"content-length: 0\r\n\r\n",
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"content-length: %d\r\n\r\n" % len(deep) + deep,
        HEAD + b"content-length: 1000000\r\n\r\n{",
        HEAD + b"x-vllm-gateway-cluster: tiny.PrefixAware\r\ncontent-length: 2\r\n\r\n{}",
        b"GET /v1/models?api_key=sk-alice HTTP/1.1\r\nhost: g\r\n\r\n",
        b"\x00\xff\x16\x03garbage\r\n\r\n",
        rapid_reset(),
        endless_headers(),
    )

    async def attack(form: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await raw(gateway, form, 1.5)

    gateway = GatewayProcess()
    gateway.set(server_state("tiny", *replicas))
    async with gateway, Load(gateway.url) as load:
        for _ in range(2):
            long = [post(session, gateway, body_of(34_000_000)) for _ in range(2)]
            await asyncio.gather(*(attack(form) for form in forms * 3), *long, return_exceptions=True)
    assert load.lost == {}
    assert sum(load.outcomes.values()) > 100
