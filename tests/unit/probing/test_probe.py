"""One probe of one server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import Any

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.http import new_session
from vllm_operator.probing.probe import probe
from vllm_operator.probing.responses import METRICS_LIMIT

WANTED = ("mistral-7b",)


async def raw_server(answer: bytes) -> asyncio.Server:
    """A server that sends `answer` on each connection, and closes it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def address(server: asyncio.Server) -> str:
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_serving_replica_has_version_models_and_capacity(vllm: FakeVLLM, session: ReplicaSession):
    assert await probe(session, vllm.url, WANTED, None) == ReplicaHealth(
        reason="Serving",
        served_models=("mistral-7b",),
        version="0.32.0",
        max_model_len=8192,
        kv_cache_tokens=2_097_152,
        concurrency=2048,
    )


async def test_known_capacity_is_not_requested_again(vllm: FakeVLLM, session: ReplicaSession):
    known = await probe(session, vllm.url, WANTED, None)
    for _ in range(5):
        assert await probe(session, vllm.url, WANTED, None, known) == known
    assert vllm.requests == {"/health": 6, "/v1/models": 6, "/version": 1, "/metrics": 1}


async def test_capacity_is_requested_again_after_a_failure(vllm: FakeVLLM, session: ReplicaSession):
    down = ReplicaHealth("ConnectionRefused", "refused", version="0.31.0", kv_cache_tokens=1)
    health = await probe(session, vllm.url, WANTED, None, down)
    assert (health.version, health.kv_cache_tokens) == ("0.32.0", 2_097_152)


async def test_replica_without_metrics_serves(vllm: FakeVLLM, session: ReplicaSession):
    vllm.status = {"/metrics": 404, "/version": 404}
    health = await probe(session, vllm.url, WANTED, None)
    assert health.is_healthy
    assert health.kv_cache_tokens is None


async def test_all_probes_of_a_replica_share_one_connection(vllm: FakeVLLM, session: ReplicaSession):
    for _ in range(5):
        await probe(session, vllm.url, WANTED, None, None)
    assert vllm.connections == 1


async def test_missing_served_name_is_reported_with_the_listed_names(vllm: FakeVLLM, session: ReplicaSession):
    health = await probe(session, vllm.url, ("mistral-7b", "alias"), None)
    assert health.reason == "ModelNotServed"
    assert health.message == "/v1/models lacks alias; it lists mistral-7b"


async def test_missing_key_is_unauthorized_with_the_remedy(vllm: FakeVLLM, session: ReplicaSession):
    vllm.api_key = "s3cret"
    health = await probe(session, vllm.url, WANTED, None)
    assert health.reason == "Unauthorized"
    assert "set security.apiKeySecretRef" in health.message


async def test_wrong_key_is_unauthorized_and_not_repeated(vllm: FakeVLLM, session: ReplicaSession):
    vllm.api_key = "s3cret"
    health = await probe(session, vllm.url, WANTED, "another")
    assert health.reason == "Unauthorized"
    assert "another" not in health.message
    assert "s3cret" not in health.message


async def test_key_goes_to_models_alone(vllm: FakeVLLM, session: ReplicaSession):
    vllm.api_key = "s3cret"
    assert (await probe(session, vllm.url, WANTED, "s3cret")).is_healthy
    assert {path for path, key in vllm.authorizations if key} == {"/v1/models"}


async def test_key_with_a_line_break_is_explained(vllm: FakeVLLM, session: ReplicaSession):
    health = await probe(session, vllm.url, WANTED, "s3cret\n")
    assert health.reason == "Unauthorized"
    assert "line break" in health.message
    assert "s3cret" not in health.message


@pytest.mark.parametrize("path", ["/health", "/v1/models"])
@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
async def test_other_status_is_an_http_error_and_redirects_are_not_followed(
    vllm: FakeVLLM, session: ReplicaSession, path: str, status: int
):
    vllm.status, vllm.headers = {path: status}, {"location": f"{vllm.url}/elsewhere"}
    health = await probe(session, vllm.url, WANTED, None)
    assert (health.reason, health.message) == ("HTTPError", f"{path} answered {status}")
    assert "/elsewhere" not in vllm.requests


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1, 2]", b'{"data": 7}', b"\x00\xff", b"[" * 100_000, b"x" * 10_000_000, gzip.compress(b" " * 10**7)],
)
async def test_junk_for_models_is_an_http_error(vllm: FakeVLLM, session: ReplicaSession, body: bytes):
    vllm.body = {"/v1/models": body}
    health = await probe(session, vllm.url, WANTED, None)
    assert health.reason == "HTTPError"
    assert "/v1/models" in health.message


async def test_junk_for_health_version_and_metrics_is_harmless(vllm: FakeVLLM, session: ReplicaSession):
    vllm.body = {"/health": b"\xff" * 1000, "/version": b"[]", "/metrics": b"\xff{" * 3_000_000}
    health = await probe(session, vllm.url, WANTED, None)
    assert (health.reason, health.version, health.kv_cache_tokens) == ("Serving", None, None)


async def test_closed_port_is_connection_refused_and_keeps_what_was_known(vllm: FakeVLLM, session: ReplicaSession):
    known = await probe(session, vllm.url, WANTED, None)
    await vllm.stop()
    health = await probe(session, vllm.url, WANTED, None, known)
    assert (health.reason, health.message) == ("ConnectionRefused", "/health: connection refused")
    assert health.version == "0.32.0"


async def test_silence_is_a_timeout(vllm: FakeVLLM, session: ReplicaSession):
    vllm.delay = 5
    begun = time.monotonic()
    health = await probe(session, vllm.url, WANTED, None, timeout=0.2)
    assert (health.reason, health.message) == ("Timeout", "/health: no answer within 0.2 s")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "Unreachable"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "Unreachable"),
        (b"220 mail.example ESMTP\r\n", "HTTPError"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", "HTTPError"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "HTTPError"),
    ],
)
async def test_answer_other_than_http_never_raises(session: ReplicaSession, answer: bytes, reason: Any):
    async with await raw_server(answer) as server:
        health = await probe(session, address(server), WANTED, None, timeout=2)
    assert health.reason == reason
    assert health.message.startswith("/health")


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1", "", "http://127.0.0.1:99999", "http://"])
async def test_unusable_address_never_raises(session: ReplicaSession, url: str):
    health = await probe(session, url, WANTED, None, timeout=2)
    assert (health.reason, health.message) == ("Unreachable", "/health: the pod has no usable address")


async def test_proxies_of_the_environment_are_not_used(vllm: FakeVLLM, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with new_session() as session:
        assert (await probe(session, vllm.url, WANTED, None)).is_healthy


async def test_cookies_of_one_replica_are_not_kept(vllm: FakeVLLM, session: ReplicaSession):
    vllm.headers = {"set-cookie": "session=1; Path=/"}
    await probe(session, vllm.url, WANTED, None)
    assert vllm.cookies == {None}


async def test_metrics_are_requested_in_place_of_health(vllm: FakeVLLM, session: ReplicaSession):
    known = await probe(session, vllm.url, WANTED, None)
    taken: list[bytes] = []
    assert await probe(session, vllm.url, WANTED, None, known, on_metrics=taken.append) == known
    assert b"vllm:num_requests_running" in b"".join(taken)
    assert (vllm.requests["/health"], vllm.requests["/metrics"]) == (1, 2)


async def test_health_is_requested_when_metrics_are_missing(vllm: FakeVLLM, session: ReplicaSession):
    vllm.status = {"/metrics": 404}
    taken: list[bytes] = []
    assert (await probe(session, vllm.url, WANTED, None, on_metrics=taken.append)).is_healthy
    assert (taken, vllm.requests["/health"]) == ([], 1)


async def test_silence_of_metrics_is_a_timeout_of_health(vllm: FakeVLLM, session: ReplicaSession):
    vllm.delay = 5
    health = await probe(session, vllm.url, WANTED, None, timeout=0.2, on_metrics=lambda _: None)
    assert (health.reason, health.message) == ("Timeout", "/health: no answer within 0.2 s")
    assert vllm.requests["/health"] == 0


async def test_health_is_requested_when_metrics_are_too_long(vllm: FakeVLLM, session: ReplicaSession):
    vllm.body = {"/metrics": b"x" * (METRICS_LIMIT + 1)}
    taken: list[bytes] = []
    assert (await probe(session, vllm.url, WANTED, None, on_metrics=taken.append)).is_healthy
    assert (taken, vllm.requests["/health"]) == ([], 1)


@pytest.mark.parametrize("length", [252, 253, 254, 255, 256, 2000])
async def test_long_names_are_compared_whole(vllm: FakeVLLM, session: ReplicaSession, length: int):
    vllm.models = ("x" * length,)
    assert (await probe(session, vllm.url, ("x" * length,), None)).is_healthy
    assert (await probe(session, vllm.url, ("x" * (length - 1),), None)).reason == "ModelNotServed"
    assert (await probe(session, vllm.url, ("x" * (length - 1) + "y",), None)).reason == "ModelNotServed"


async def test_name_too_long_to_keep_is_left_out_of_the_list(vllm: FakeVLLM, session: ReplicaSession):
    vllm.models = ("x" * 2000, "short")
    health = await probe(session, vllm.url, ("x" * 2000,), None)
    assert health.served_models == ("short",)


async def test_name_is_cut_to_the_length_that_the_message_may_have(vllm: FakeVLLM, session: ReplicaSession):
    vllm.models = ("x" * 500_000,)
    health = await probe(session, vllm.url, ("y" * 256,), None)
    assert health.message == f"/v1/models lacks {'y' * 256}; it lists nothing"
