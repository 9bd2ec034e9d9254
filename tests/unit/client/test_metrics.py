"""Metrics of the client, with the events of a client and with a real client."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.helpers.fake_vllm_server import FakeVLLMServer, hang, status
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.circuit_breaker import BreakerState
from vllm_operator.client.config import ClientConfig, RetryPolicy
from vllm_operator.client.errors import ModelNotFound, ServerFailed
from vllm_operator.client.hooks import RequestInfo, RequestOutcome
from vllm_operator.client.metrics import OTHER, BoundedLabels, ClientMetrics
from vllm_operator.client.responses import Usage

PREFIX = "vllm_client_"


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return the value of a series."""
    return registry.get_sample_value(f"{PREFIX}{name}", labels)


def call(metrics: ClientMetrics, model: str, error: bool = False, endpoint: str = "http://a") -> None:
    """Report one call."""
    request = RequestInfo("chat", model, False, 0.0)
    metrics.request_started(request)
    failure = ModelNotFound("no") if error else None
    usage = None if error else Usage(prompt_tokens=3, completion_tokens=5)
    metrics.request_finished(
        request, RequestOutcome("error" if error else "ok", failure, usage, 0.7, None, 1, endpoint)
    )


async def test_calls_of_a_client_are_counted(server: FakeVLLMServer) -> None:
    registry = CollectorRegistry()
    config = ClientConfig(base_url=server.url, model="tiny", retries=RetryPolicy(base_delay=0.0))
    async with AsyncVLLMClient(config, observers=[ClientMetrics(registry=registry)]) as client:
        server.answers["/v1/chat/completions"] = [status(500)]
        await client.chat("a")
        stream = client.stream_chat("b")
        await stream.collect()
        server.answers["/v1/chat/completions"] = status(400)
        with pytest.raises(Exception, match="400"):
            await client.chat("c")

    assert value(registry, "requests_total", model="tiny", status="success") == 2
    assert value(registry, "requests_total", model="tiny", status="error") == 1
    assert value(registry, "errors_total", model="tiny", error="InvalidRequest") == 1
    assert value(registry, "retries_total", error="ServerFailed") == 1
    assert value(registry, "request_latency_seconds_count", model="tiny") == 2
    assert value(registry, "time_to_first_token_seconds_count", model="tiny") == 1
    assert value(registry, "tokens_generated_total", model="tiny") == 4
    assert value(registry, "prompt_tokens_total", model="tiny") == 10
    assert value(registry, "active_requests") == 0
    assert value(registry, "circuit_breaker_state", endpoint=server.url) == 0


async def test_cancelled_call_is_active_until_its_end(server: FakeVLLMServer) -> None:
    registry = CollectorRegistry()
    server.answers["/v1/chat/completions"] = hang
    config = ClientConfig(base_url=server.url, model="tiny")
    async with AsyncVLLMClient(config, observers=[ClientMetrics(models=["tiny"], registry=registry)]) as client:
        task = asyncio.create_task(client.chat("a"))
        await server.until(lambda: bool(server.requests))
        assert value(registry, "active_requests") == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert value(registry, "active_requests") == 0
    assert value(registry, "requests_total", model="tiny", status="cancelled") == 1
    assert value(registry, "request_latency_seconds_count", model="tiny") is None


def test_model_that_no_server_answered_for_is_other() -> None:
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry=registry)
    for number in range(1000):
        call(metrics, f"guess-{number}", error=True)
    call(metrics, "real")
    call(metrics, "real", error=True)
    call(metrics, "")

    assert value(registry, "requests_total", model="other", status="error") == 1000
    assert value(registry, "requests_total", model="real", status="success") == 1
    assert value(registry, "requests_total", model="real", status="error") == 1
    assert value(registry, "requests_total", model="unknown", status="success") == 1
    assert generate_latest(registry).count(b"\nvllm_client_requests_total{") == 4


def test_models_and_endpoints_are_bounded() -> None:
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry=registry, models=["named"], max_models=3, max_endpoints=2)
    for number in range(50):
        call(metrics, f"model-{number}", endpoint=f"http://{number}")
    call(metrics, "named", error=True)

    assert value(registry, "requests_total", model="named", status="error") == 1
    assert value(registry, "requests_total", model="model-1", status="success") == 1
    assert value(registry, "requests_total", model="other", status="success") == 48
    assert generate_latest(registry).count(b"\nvllm_client_circuit_breaker_state{") == 2


@pytest.mark.parametrize(
    ("state", "number"), [(BreakerState.CLOSED, 0), (BreakerState.OPEN, 1), (BreakerState.HALF_OPEN, 2)]
)
def test_state_of_a_circuit_breaker_is_the_guides_number(state: BreakerState, number: int) -> None:
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry=registry)

    metrics.breaker_changed("http://a", BreakerState.CLOSED, state)
    call(metrics, "m", endpoint="http://a")

    assert value(registry, "circuit_breaker_state", endpoint="http://a") == number


def test_two_observers_share_a_registry() -> None:
    registry = CollectorRegistry()
    for metrics in (ClientMetrics(registry=registry), ClientMetrics(registry=registry)):
        call(metrics, "m")

    assert value(registry, "requests_total", model="m", status="success") == 2


def test_retry_counts_by_the_class_of_the_error() -> None:
    registry = CollectorRegistry()
    metrics = ClientMetrics(registry=registry)

    metrics.request_retried(RequestInfo("chat", "m", False, 0.0), ServerFailed("x"), 1, 0.5)

    assert value(registry, "retries_total", error="ServerFailed") == 1


def test_long_name_of_a_model_gets_no_label_of_its_own() -> None:
    labels = BoundedLabels(10)

    assert labels.add("m" * 257) == OTHER
    assert labels.add("m" * 256) == "m" * 256
