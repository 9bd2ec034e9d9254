"""Clients that people use, unchanged, at the real Envoy: the SDK of OpenAI, LangChain, curl, and browsers."""

from __future__ import annotations

import asyncio
import json
import shutil

import aiohttp
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.helpers.fake_vllm_server import FakeVLLMServer

AUTH = {"secrets": [{"name": "keys"}]}
HELLO = [{"role": "user", "content": "hi"}]


def gateway_for(replica: FakeVLLMServer, **spec: object) -> GatewayProcess:
    gateway = GatewayProcess({"auth": AUTH, **spec})
    keys = (key_entry("alice", "sk-alice-01"), key_entry("bob", "sk-bob-0001", "other"))
    gateway.set(server_state("tiny", replica), keys=keys)
    return gateway


def sdk(gateway: GatewayProcess, key: str = "sk-alice-01") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


async def test_the_sdk_of_openai_works_unchanged(replicas: list[FakeVLLMServer]) -> None:
    async with gateway_for(replicas[0]) as gateway, sdk(gateway) as client:
        answer = await client.chat.completions.create(model="tiny", messages=HELLO)  # type: ignore[call-overload]
        assert answer.choices[0].message.content == "Hello world"
        stream = await client.chat.completions.create(model="tiny", messages=HELLO, stream=True)  # type: ignore[call-overload]
        assert "".join([part.choices[0].delta.content or "" async for part in stream if part.choices]) == "Hello world"
        assert [model.id async for model in client.models.list()] == ["tiny"]
        assert (await client.models.retrieve("tiny")).id == "tiny"
        completion = await client.completions.create(model="tiny", prompt="hi")
        assert completion.choices[0].text == "Hello world"


async def test_the_sdk_of_openai_raises_the_errors_that_people_catch(replicas: list[FakeVLLMServer]) -> None:
    limits = [{"key": "bob", "requestsPerMinute": 1}]
    async with gateway_for(replicas[0], limits=limits) as gateway:
        async with sdk(gateway, "sk-nobody-1") as client:
            with pytest.raises(openai.AuthenticationError, match="not valid"):
                await client.models.list()
        async with sdk(gateway) as client:
            with pytest.raises(openai.NotFoundError, match="Models for this key: tiny"):
                await client.completions.create(model="gone", prompt="hi")
            with pytest.raises(openai.BadRequestError, match="200 levels"):
                await client.completions.create(model="tiny", prompt="hi", extra_body={"x": nested(300)})
        gateway.set(server_state("tiny", replicas[0]), server_state("other", replicas[0]))
        await gateway.until_applied("rds")
        async with sdk(gateway, "sk-bob-0001") as client:
            await client.completions.create(model="other", prompt="hi")
            with pytest.raises(openai.RateLimitError) as error:
                await client.completions.create(model="other", prompt="hi")
            assert int(error.value.response.headers["retry-after"]) > 0


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


async def test_the_sdk_of_openai_skips_comments_and_raises_the_error_after_them(
    replicas: list[FakeVLLMServer],
) -> None:
    gateway = gateway_for(replicas[0], holding={"timeoutSeconds": 3})
    gateway.set(server_state("tiny"))
    ask = {"x-vllm-hold-comments": "1"}
    async with gateway, sdk(gateway) as client:
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            model="tiny", messages=HELLO, stream=True, extra_headers=ask
        )
        gateway.set(server_state("tiny", replicas[0]))
        assert "".join([part.choices[0].delta.content or "" async for part in stream if part.choices]) == "Hello world"
        gateway.set(server_state("tiny"))
        await gateway.until_applied("eds")
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            model="tiny", messages=HELLO, stream=True, extra_headers=ask
        )
        with pytest.raises(openai.APIError, match="no replica of tiny became ready within 3 s"):
            [part async for part in stream]


async def test_langchain_works_unchanged(replicas: list[FakeVLLMServer]) -> None:
    async with gateway_for(replicas[0]) as gateway:
        model = ChatOpenAI(base_url=f"{gateway.url}/v1", api_key=SecretStr("sk-alice-01"), model="tiny", max_retries=0)
        assert (await model.ainvoke("hi")).content == "Hello world"
        assert "".join([str(part.content) async for part in model.astream("hi")]) == "Hello world"


async def test_curl_works_with_its_defaults(replicas: list[FakeVLLMServer]) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    async with gateway_for(replicas[0]) as gateway:
        common = [curl, "-sS", "--fail-with-body", "-H", "Authorization: Bearer sk-alice-01"]
        # Its default type is that of a form.
        body = json.dumps({"model": "tiny", "messages": HELLO})
        for more in (["-d", body], ["-d", body, "--http2-prior-knowledge"], ["-T", "-"]):
            method = ["-X", "POST"] if more[0] == "-T" else []
            process = await asyncio.create_subprocess_exec(
                *(*common, *method, *more, f"{gateway.url}/v1/chat/completions"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate(body.encode() if more[0] == "-T" else None)
            assert json.loads(output)["choices"][0]["message"]["content"] == "Hello world"


async def test_a_browser_may_send_what_the_sdk_for_browsers_sends(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    origin = "https://chat.example.com"
    names = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
    names += "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout"
    names += ",x-vllm-hold-comments"
    async with gateway_for(replicas[0], cors={"allowOrigins": [origin]}) as gateway:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
        async with session.options(gateway.url + "/v1/chat/completions", headers=asked) as response:
            assert response.status == 200
            allowed = response.headers["access-control-allow-headers"].replace(" ", "").split(",")
            assert set(names.split(",")) <= set(allowed)
        # A refusal is readable for the page, too.
        headers = {"Origin": origin, "Authorization": "Bearer sk-nobody-1"}
        async with session.post(gateway.url + "/v1/chat/completions", json={}, headers=headers) as response:
            assert response.status == 401
            assert response.headers["access-control-allow-origin"] == origin
