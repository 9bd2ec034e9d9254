"""Which replica of which server answers, at the real Envoy."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import aiohttp
from aiohttp import web

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.gateway.requests import bearer, chat, get, post
from tests.helpers.fake_vllm_server import FakeVLLMServer


async def test_an_empty_spec_serves_every_server_by_its_names(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("one", replicas[0], served=("tiny", "tiny-alias")), server_state("two", replicas[1]))
    async with gateway:
        listed = [model["id"] for model in (await get(session, gateway, "/v1/models")).json["data"]]
        assert listed == ["tiny", "tiny-alias", "two"]
        for name in listed:
            assert (await post(session, gateway, chat(model=name))).status == 200
        assert [len(replica.requests) for replica in replicas] == [2, 1, 0]


async def test_servers_with_one_name_are_one_model(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"routing": "LeastRequest"})
    gateway.set(
        server_state("one", replicas[0], served=("tiny",)), server_state("two", *replicas[1:], served=("tiny",))
    )
    async with gateway:
        await asyncio.gather(*(post(session, gateway) for _ in range(90)))
        counts = [len(replica.requests) for replica in replicas]
        assert sum(counts) == 90
        assert min(counts) > 10


async def test_weights_share_the_requests_and_the_body_names_the_served_model(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    servers = [{"name": "one", "weight": 90}, {"name": "two", "weight": 10}]
    gateway = GatewayProcess({"models": [{"name": "chat", "servers": servers, "routing": "LeastRequest"}]})
    gateway.set(server_state("one", replicas[0], served=("m1",)), server_state("two", replicas[1], served=("m2",)))
    async with gateway:
        body = {"messages": [{"role": "user", "content": 'say "model" {'}], "model": "chat", "stop": ["é"]}
        answers = await asyncio.gather(*(post(session, gateway, body) for _ in range(300)))
        assert {answer.status for answer in answers} == {200}
        first, second = (len(replica.requests) for replica in replicas[:2])
        assert first + second == 300
        assert 10 <= second <= 55
        assert replicas[0].requests[0][2] == {**body, "model": "m1"}
        assert replicas[1].requests[0][2] == {**body, "model": "m2"}


async def test_a_header_picks_a_version(session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]) -> None:
    servers = [
        {"name": "one", "weight": 1},
        {"name": "two", "weight": 0, "header": {"name": "x-version", "value": "v2"}},
    ]
    gateway = GatewayProcess({"models": [{"name": "chat", "servers": servers}]})
    gateway.set(server_state("one", replicas[0]), server_state("two", replicas[1]))
    async with gateway:
        for _ in range(5):
            await post(session, gateway, chat(model="chat"), headers={"x-version": "v2"})
            await post(session, gateway, chat(model="chat"), headers={"x-version": "v3"})
        assert [len(replica.requests) for replica in replicas] == [5, 5, 0]


async def test_a_fallback_answers_while_a_model_has_no_replica(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    spec = {
        "models": [{"name": "chat", "servers": [{"name": "big"}], "fallbacks": ["missing", "small"]}],
        "holding": {"timeoutSeconds": 1},
    }
    gateway = GatewayProcess(spec)
    gateway.set(server_state("big"), server_state("small", replicas[0]))
    async with gateway:
        assert (await post(session, gateway, chat(model="chat"))).status == 200
        assert replicas[0].requests[-1][2]["model"] == "small"
        gateway.set(server_state("big", replicas[1]), server_state("small", replicas[0]))
        await gateway.until_applied("eds")
        assert (await post(session, gateway, chat(model="chat"))).status == 200
        assert replicas[1].requests[-1][2]["model"] == "big"


async def test_a_mirror_gets_copies_whose_answers_are_dropped(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    mirror = {"server": "shadow", "percent": 100}
    gateway = GatewayProcess({"models": [{"name": "tiny", "servers": [{"name": "one"}], "mirror": mirror}]})
    gateway.set(server_state("one", replicas[0], served=("tiny",)), server_state("shadow", replicas[1]))
    async with gateway:
        for _ in range(5):
            assert (await post(session, gateway)).status == 200
        await replicas[1].until(lambda: len(replicas[1].requests) == 5)
        assert len(replicas[0].requests) == 5


def turns(number: int, length: int) -> list[dict[str, str]]:
    """A conversation after some turns; all of them share a system prompt."""
    messages = [{"role": "system", "content": "You help. " * 40}]
    for turn in range(length):
        messages.append({"role": "user", "content": f"question {turn} of conversation {number}"})
        messages.append({"role": "assistant", "content": "an answer"})
    return messages[:-1]


async def test_the_turns_of_a_conversation_stay_on_one_replica(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", *replicas))
    async with gateway:
        used = []
        for number in range(30):
            for length in (1, 2, 3, 4):
                await post(session, gateway, {"model": "tiny", "messages": turns(number, length)})
            found = {
                index
                for index, replica in enumerate(replicas)
                for _, _, body in replica.requests
                if f"of conversation {number}" == body["messages"][1]["content"][-len(f"of conversation {number}") :]
            }
            assert len(found) == 1, f"conversation {number} went to {found}"
            used += found
        assert min(Counter(used).values()) >= 3


async def test_keys_do_not_share_the_place_of_a_prefix(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess({"auth": {"secrets": [{"name": "keys"}]}})
    keys = tuple(key_entry(f"team-{number}", f"sk-{number}") for number in range(30))
    gateway.set(server_state("tiny", *replicas), keys=keys)
    async with gateway:
        for number in range(30):
            await post(session, gateway, headers=bearer(f"sk-{number}"))
        assert all(replica.requests for replica in replicas)


async def test_a_session_stays_on_one_replica(session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]) -> None:
    gateway = GatewayProcess({"routing": "Session"})
    gateway.set(server_state("tiny", *replicas))
    async with gateway:
        for number in range(12):
            for turn in range(3):
                await post(session, gateway, chat(f"{turn}"), headers={"x-session-id": f"s{number}"})
                await post(session, gateway, chat(f"{turn}", user=f"u{number}"))
        for replica in replicas:
            sessions = Counter(headers.get("x-session-id", body.get("user")) for _, headers, body in replica.requests)
            assert set(sessions.values()) == {3}


async def test_a_form_names_its_model(session: aiohttp.ClientSession) -> None:
    forms: list[bytes] = []

    async def transcribe(request: web.Request) -> web.Response:
        forms.append(await request.read())
        return web.json_response({"text": "hello"})

    app = web.Application()
    app.router.add_post("/v1/audio/transcriptions", transcribe)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    whisper = FakeVLLMServer("whisper-large")
    whisper.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    gateway = GatewayProcess({"models": [{"name": "whisper", "servers": [{"name": "whisper-large"}]}]})
    gateway.set(server_state("whisper-large", whisper))
    async with gateway:
        for name, status in (("unknown", 404), ("whisper", 200)):
            form = aiohttp.FormData()
            form.add_field("file", b'\x00\x01 {"model": "no"}', filename="a.wav", content_type="audio/wav")
            form.add_field("model", name)
            answer = await post(session, gateway, form, path="/v1/audio/transcriptions")
            assert answer.status == status
        assert b'name="model"\r\n\r\nwhisper-large\r\n' in forms[0]
        assert b"\x00\x01" in forms[0]
    await runner.cleanup()


async def test_unchanged_bodies_reach_the_replica_byte_for_byte(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = GatewayProcess()
    gateway.set(server_state("tiny", replicas[0]))
    async with gateway:
        text = '{ "model" :"tiny" , "messages":[{"role":"user","content":"ü\\u00fc\\n"}], "temperature": 0.10}'
        answer = await post(session, gateway, text.encode(), headers={"content-type": "text/plain", "x-my": "1"})
        assert answer.status == 200
        _, headers, body = replicas[0].requests[-1]
        assert body == json.loads(text)
        assert headers["content-length"] == str(len(text.encode()))
        assert headers["x-my"] == "1"
