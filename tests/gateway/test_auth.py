"""Who may do what, at the real Envoy."""

from __future__ import annotations

import json
import time

import aiohttp
import pytest

from tests.gateway.gateway_process import GatewayProcess, key_entry, server_state
from tests.gateway.requests import bearer, chat, get, post
from tests.helpers.fake_vllm_server import FakeVLLMServer

AUTH = {"secrets": [{"name": "keys"}]}


def gateway_with_keys(replica: FakeVLLMServer) -> GatewayProcess:
    gateway = GatewayProcess({"auth": AUTH, "audit": {}})
    keys = (
        key_entry("alice", "sk-alice"),
        key_entry("bob", "sk-bob", "other"),
        key_entry("old", "sk-old", expires=int(time.time()) - 1),
    )
    gateway.set(
        server_state("tiny", replica, api_key="sk-of-vllm"), server_state("other", replica, api_key="x"), keys=keys
    )
    return gateway


async def test_the_key_of_a_client_is_replaced_by_that_of_vllm(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        answer = await post(session, gateway, headers=bearer("sk-alice"))
        assert answer.status == 200
        _, headers, body = replicas[0].requests[-1]
        assert headers.getall("Authorization") == ["Bearer sk-of-vllm"]  # type: ignore[attr-defined]
        assert headers["x-vllm-gateway-key"] == "alice"
        assert body == chat()
        assert "sk-of-vllm" not in answer.text + str(answer.headers)
        assert (await post(session, gateway, headers={"x-api-key": "sk-alice"})).status == 200
        assert "x-api-key" not in replicas[0].requests[-1][1]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "no API key"),
        ({"Authorization": "Basic c2stYWxpY2U="}, "no API key"),
        ({"Authorization": "Bearer sk-mallory"}, "not valid"),
        ({"Authorization": "Bearer sk-alice "}, None),
        ({"Authorization": "Bearer " + "s" * 5000}, "not valid"),
        ({"Authorization": "Bearer sk-old"}, "expired"),
        ({"x-vllm-gateway-key": "alice", "x-vllm-gateway-cluster": "tiny.PrefixAware"}, "no API key"),
    ],
)
async def test_requests_without_a_valid_key_are_refused(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], headers: dict[str, str], message: str | None
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        answer = await post(session, gateway, headers=headers)
        if message is None:
            assert answer.status == 200
            return
        assert answer.status == 401
        assert message in answer.message
        assert answer.headers["www-authenticate"] == "Bearer"
        assert not replicas[0].requests


async def test_forged_identity_headers_are_overwritten(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        forged = {
            "X-VLLM-Gateway-Key": "root",
            "x-vllm-gateway-model": "other",
            "x-vllm-gateway-cluster": "other.PrefixAware",
        }
        assert (await post(session, gateway, headers={**bearer("sk-alice"), **forged})).status == 200
        headers = replicas[0].requests[-1][1]
        assert headers["x-vllm-gateway-key"] == "alice"
        assert headers["x-vllm-gateway-model"] == "tiny"
        assert headers["Authorization"] == "Bearer sk-of-vllm"


@pytest.mark.parametrize("query", ["?api_key=sk-alice", "?a=1&key=sk-alice", "?Access_Token=sk-alice"])
async def test_a_key_in_the_query_is_refused_and_not_logged(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], query: str
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        answer = await post(session, gateway, path=f"/v1/chat/completions{query}", headers=bearer("sk-alice"))
        assert answer.status == 401
        assert "query" in answer.message
        await gateway.until_applied("log")
        assert "sk-alice" not in gateway.log


async def test_models_and_refusals_name_only_what_a_key_may_use(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        listed = (await get(session, gateway, "/v1/models", bearer("sk-bob"))).json
        assert [model["id"] for model in listed["data"]] == ["other"]
        assert (await get(session, gateway, "/v1/models/other", bearer("sk-bob"))).json["id"] == "other"
        assert (await get(session, gateway, "/v1/models/tiny", bearer("sk-bob"))).status == 404
        refused = await post(session, gateway, headers=bearer("sk-bob"))
        assert (refused.status, refused.message) == (
            404,
            "The model `tiny` does not exist. Models for this key: other.",
        )
        assert (await get(session, gateway, "/v1/models")).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/invocations",
        "/metrics",
        "/health",
        "/version",
        "/load",
        "/v1/load_lora_adapter",
        "/docs",
        "/openapi.json",
        "/v1/../invocations",
        "/v1//../invocations",
        "/%69nvocations",
        "/inference/v1/generate",
        "/sleep",
        "/",
        "/ping",
    ],
)
async def test_paths_that_vllm_leaves_open_are_closed(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer], path: str
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        assert (await post(session, gateway, path=path)).status in {400, 401, 404}
        assert (await post(session, gateway, path=path, headers=bearer("sk-alice"))).status in {400, 404}
        assert not replicas[0].requests


async def test_keys_are_hashed_in_files_and_rotated_while_requests_run(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        files = "".join(path.read_text() for path in gateway.folder.rglob("*.json"))
        assert "sk-alice" not in files
        assert key_entry("alice", "sk-alice").digest in files
        gateway.set(keys=(key_entry("alice", "sk-new"),))
        await gateway.until_applied("rds")
        assert (await post(session, gateway, headers=bearer("sk-alice"))).status == 401
        assert (await post(session, gateway, headers=bearer("sk-new"))).status == 200


async def test_the_audit_log_names_key_model_and_tokens_and_no_prompt(
    session: aiohttp.ClientSession, replicas: list[FakeVLLMServer]
) -> None:
    async with gateway_with_keys(replicas[0]) as gateway:
        await post(session, gateway, chat("a secret question"), headers=bearer("sk-alice"))
        await post(session, gateway, chat("a secret question", stream=True), headers=bearer("sk-alice"))
        await gateway.until_applied("log")
        lines = [line for line in gateway.audit_lines if line["status"] == 200]
        assert [line["key"] for line in lines] == ["alice", "alice"]
        assert lines[0]["model"] == "tiny"
        assert lines[0]["path"] == "/v1/chat/completions"
        assert (lines[0]["promptTokens"], lines[0]["completionTokens"]) == (5, 2)
        assert "secret question" not in gateway.log
        assert "sk-" not in json.dumps(lines)
