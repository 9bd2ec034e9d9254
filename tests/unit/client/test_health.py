from __future__ import annotations

import asyncio

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, hang, status
from vllm_operator.client import AsyncVLLMClient, AuthenticationFailed, ClientConfig, ModelNotReady
from vllm_operator.client.config import CircuitBreakerConfig
from vllm_operator.client.endpoints import EndpointPool
from vllm_operator.client.health import check_endpoints
from vllm_operator.client.transport import Transport


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        ("/health", status(503), "answers 503"),
        ("/health", hang, "does not answer within 0.2 s"),
        ("/v1/models", status(401), "answers 401"),
    ],
)
async def test_failed_check_is_a_report_with_the_reason(
    server: FakeVLLMServer, path: str, answer: object, reason: str
) -> None:
    server.answers[path] = answer  # type: ignore[assignment]
    async with AsyncVLLMClient(server.url) as client:
        report = (await client.health(timeout=0.2))[0]

    assert not report.healthy
    assert reason in report.reason


async def test_waiting_ends_when_the_server_is_there(server: FakeVLLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm_operator.client.health.POLL_SECONDS", 0.01)
    server.answers["/health"] = [status(503), status(503)]
    async with AsyncVLLMClient(server.url, model="tiny") as client:
        assert (await client.wait_until_ready(timeout=5)).id == "tiny"


async def test_waiting_ends_with_the_last_reason(server: FakeVLLMServer) -> None:
    async with AsyncVLLMClient(server.url, model="other") as client:
        with pytest.raises(ModelNotReady, match=r"not ready after 0\.2 s: .*lists tiny, not other"):
            await client.wait_until_ready(timeout=0.2)


async def test_waiting_with_a_wrong_key_is_an_error_at_once(server: FakeVLLMServer) -> None:
    server.answers["/v1/models"] = status(401)
    async with AsyncVLLMClient(server.url) as client:
        with pytest.raises(AuthenticationFailed):
            await client.wait_until_ready(timeout=30)


async def test_checks_mark_endpoints(server: FakeVLLMServer) -> None:
    pool = EndpointPool([server.url, "http://127.0.0.1:1"], CircuitBreakerConfig())
    transport = Transport(ClientConfig())
    task = asyncio.create_task(check_endpoints(transport, pool.endpoints, 60, 1))
    await server.until(lambda: not pool.endpoints[1].healthy)
    task.cancel()
    await transport.close()

    assert pool.endpoints[0].healthy


@pytest.mark.parametrize("hanging", [0, 1])
async def test_endpoint_that_hangs_does_not_delay_the_others(hanging: int) -> None:
    async with FakeVLLMServer() as one, FakeVLLMServer() as two:
        (one, two)[hanging].answers["/health"] = hang
        async with AsyncVLLMClient(ClientConfig(base_url=(one.url, two.url))) as client:
            assert (await client.wait_until_ready(timeout=2)).id == "tiny"
