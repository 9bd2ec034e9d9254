"""Tokens of an identity provider, at the real Envoy with a stand-in of the provider's keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.gateway.gateway_process import GatewayProcess, free_port, key_entry, server_state
from tests.gateway.requests import bearer, chat, get, post
from tests.helpers.fake_vllm_server import FakeVLLMServer

ISSUER = "https://login.example.com"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLAIMS = {"iss": ISSUER, "aud": "chat", "sub": "alice", "exp": 4_000_000_000}


def part(value: bytes | dict[str, Any]) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return part(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def key_set(key: rsa.RSAPrivateKey = KEY) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    return {"keys": [{"kty": "RSA", "kid": "1", "alg": "RS256", "n": number(public.n), "e": number(public.e)}]}


def token(key: rsa.RSAPrivateKey = KEY, head: dict[str, Any] | None = None, **claims: Any) -> str:
    merged = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    text = f"{part(head or {'alg': 'RS256', 'kid': '1', 'typ': 'JWT'})}.{part(merged)}"
    return f"{text}.{part(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def unsigned(**claims: Any) -> str:
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({**CLAIMS, **claims})}."


def confused() -> str:
    """A token signed with the public key as if it was a shared secret."""
    text = f"{part({'alg': 'HS256', 'kid': '1', 'typ': 'JWT'})}.{part(CLAIMS)}"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = KEY.public_key().public_bytes(serialization.Encoding.PEM, form)
    return f"{text}.{part(hmac.new(secret, text.encode(), sha256).digest())}"


def tampered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{part({**CLAIMS, 'sub': 'root'})}.{signature}"


def jwt_gateway(replica: FakeVLLMServer, **jwt: Any) -> GatewayProcess:
    auth = {"secrets": [{"name": "keys"}], "jwt": {"issuer": ISSUER, "audiences": ["chat"], **jwt}}
    gateway = GatewayProcess({"auth": auth, "audit": {}})
    servers = server_state("tiny", replica), server_state("other", replica)
    gateway.set(*servers, keys=(key_entry("carol", "sk-carol"),))
    return gateway


async def test_a_token_names_its_client_beside_api_keys(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with jwt_gateway(replicas[0], jwks=json.dumps(key_set())) as gateway:
        assert (await post(session, gateway, headers=bearer(token()))).status == 200
        headers = replicas[0].requests[-1][1]
        assert headers["x-vllm-gateway-key"] == "jwt:alice"
        assert "Authorization" not in headers
        assert (await post(session, gateway, headers=bearer("sk-carol"))).status == 200
        assert replicas[0].requests[-1][1]["x-vllm-gateway-key"] == "carol"
        listed = (await get(session, gateway, "/v1/models", bearer(token(aud=["x", "chat"])))).json
        assert [model["id"] for model in listed["data"]] == ["other", "tiny"]
        await gateway.until_applied("log")
        assert [line["key"] for line in gateway.audit_lines if line["status"] == 200][:2] == ["jwt:alice", "carol"]
        assert token().split(".")[2] not in gateway.log


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: token(iss="https://evil.example.org"), "the token is not valid"),
        (lambda: token(iss=None), "the token is not valid"),
        (lambda: token(aud="mail"), "the token is not valid"),
        (lambda: token(aud=None), "the token is not valid"),
        (lambda: token(exp=int(time.time()) - 120), "expired"),
        (lambda: token(exp=None), "the token is not valid"),
        (lambda: token(nbf=int(time.time()) + 3600), "the token is not valid"),
        (lambda: token(OTHER_KEY), "the token is not valid"),
        (unsigned, "the token is not valid"),
        (confused, "the token is not valid"),
        (tampered, "the token is not valid"),
        (lambda: token(sub="x y"), "no id of a client"),
        (lambda: token(sub=5), "[sub] field is not a string"),
        (lambda: token(sub="a" * 200), "no id of a client"),
        (lambda: token(sub=None), "no id of a client"),
        (lambda: "a.b.c", "the token is not valid"),
        (lambda: "no-token", "the API key is not valid"),
        (lambda: token(OTHER_KEY, more="x" * 20_000), "not valid"),
    ],
)
async def test_tokens_that_prove_nothing_are_refused(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], given: Any, message: str
) -> None:
    async with jwt_gateway(replicas[0], jwks=json.dumps(key_set())) as gateway:
        answer = await post(session, gateway, headers=bearer(given()))
        assert answer.status == 401
        assert message in answer.message
        assert not replicas[0].requests


async def test_a_claim_names_the_models_that_a_client_may_use(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with jwt_gateway(replicas[0], jwks=json.dumps(key_set()), modelsClaim="models", idClaim="email") as gateway:
        for models, statuses in ((["other"], (404, 200)), ("tiny x", (200, 404)), (None, (404, 404)), (7, (404, 404))):
            headers = bearer(token(models=models, email="alice@example.com"))
            found = [
                (await post(session, gateway, chat(model=name), headers=headers)).status for name in ("tiny", "other")
            ]
            assert tuple(found) == statuses
        assert replicas[0].requests[-1][1]["x-vllm-gateway-key"] == "jwt:alice@example.com"


async def test_a_client_with_a_token_has_its_own_limits(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    gateway = jwt_gateway(replicas[0], jwks=json.dumps(key_set()))
    gateway.set(limits=[{"key": "jwt:alice", "requestsPerMinute": 2}, {"key": "*", "requestsPerMinute": 5}])
    async with gateway:
        for client, served in (("alice", 2), ("auth0|bob", 5)):
            headers = bearer(token(sub=client))
            statuses = [(await post(session, gateway, headers=headers)).status for _ in range(7)]
            assert statuses == [200] * served + [429] * (7 - served)


@asynccontextmanager
async def fake_provider(port: int, answer: Any) -> AsyncIterator[list[str]]:
    """A stand-in of the server that publishes the keys."""
    asked: list[str] = []

    async def keys(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        found: web.StreamResponse = await answer(request)
        return found

    app = web.Application()
    app.router.add_get("/{path:.*}", keys)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield asked
    finally:
        await runner.cleanup()


def peak_memory(gateway: GatewayProcess) -> int:
    """The most memory that Envoy had, in KiB."""
    lines = Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


async def until(session: aiohttp.ClientSession, gateway: GatewayProcess, status: int) -> None:
    async with asyncio.timeout(20):
        while (await post(session, gateway, headers=bearer(token()))).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.3)


async def test_keys_are_read_from_the_issuer_and_its_absence_is_no_refusal(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async def keys(_: web.Request) -> web.Response:
        return web.json_response(key_set())

    port = free_port()
    async with jwt_gateway(replicas[0], jwksUri=f"http://127.0.0.1:{port}/keys?v=1") as gateway:
        # Nobody listens: API keys work, and a token is neither accepted nor called wrong.
        assert (await post(session, gateway, headers=bearer("sk-carol"))).status == 200
        answer = await post(session, gateway, headers=bearer(token()))
        assert (answer.status, answer.headers.get("retry-after")) == (503, "5")
        assert "the keys of the issuer of the token could not be read" in answer.message
        async with fake_provider(port, keys) as asked:
            await until(session, gateway, 200)
            # Until then one thread may have read them on its own; all of them get them a second later.
            await asyncio.sleep(2.5)
            assert set(asked) == {"/keys"}
        assert (await post(session, gateway, headers=bearer(token(OTHER_KEY)))).status == 401
        assert (await post(session, gateway, headers=bearer(token()))).status == 200


@pytest.mark.parametrize("kind", ["endless", "garbage", "redirect", "error"])
async def test_odd_keys_of_an_issuer_cost_nothing_but_its_tokens(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], kind: str
) -> None:
    sent = 0

    async def odd(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if kind == "redirect":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if kind != "endless":
            return web.Response(text='{"keys": [{"kty": 5}]}', status=500 if kind == "error" else 200)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"keys": [')
        while True:
            await response.write(b" " * 1_000_000)
            sent += 1_000_000
            await asyncio.sleep(0)

    port = free_port()
    async with (
        fake_provider(port, odd) as asked,
        jwt_gateway(replicas[0], jwksUri=f"http://127.0.0.1:{port}/keys") as gateway,
    ):
        for _ in range(10):
            assert (await post(session, gateway, headers=bearer("sk-carol"))).status == 200
            assert (await post(session, gateway, headers=bearer(token()))).status in {401, 503}
            await asyncio.sleep(0.2)
        assert "/elsewhere" not in asked
        assert peak_memory(gateway) < 400_000
        assert sent < 200_000_000
    assert not [body for _, _, body in replicas[0].requests if body.get("model") != "tiny"]
