"""Checks of servers: healthy or not, ready or not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vllm_operator.client.config import ClientConfig
from vllm_operator.client.credentials import ApiKey
from vllm_operator.client.endpoints import Endpoint
from vllm_operator.client.error_parsing import error_from_answer
from vllm_operator.client.errors import AuthenticationFailed, InvalidResponse, ModelNotReady, VLLMClientError
from vllm_operator.client.parsing import json_object
from vllm_operator.client.responses import HealthReport, ModelInfo
from vllm_operator.client.transport import HttpRequest, Transport

POLL_SECONDS = 1.0
"""Seconds between two checks while waiting for a server to be ready."""
CHECK_SECONDS = 10.0
"""Seconds until a check fails while waiting for a server to be ready."""


async def health_reports(
    transport: Transport, urls: Sequence[str], key: ApiKey, seconds: float
) -> tuple[HealthReport, ...]:
    """Return the report of each endpoint."""
    return tuple(await asyncio.gather(*(_report(transport, url, key, seconds) for url in urls)))


async def first_ready_model(
    transport: Transport, config: ClientConfig, key: ApiKey, model: str | None, seconds: float
) -> ModelInfo:
    """Return the model, once an endpoint is healthy and lists it; without a name, the first that is listed.

    Raises:
        ModelNotReady: none is ready within the timeout.
        AuthenticationFailed: the API key is wrong.
    """
    reason = "no check has ended"
    try:
        async with asyncio.timeout(seconds):
            while True:
                checks = [asyncio.create_task(_checked(transport, url, key, model)) for url in config.base_urls]
                try:
                    for check in asyncio.as_completed(checks):
                        found = await check
                        if isinstance(found, ModelInfo):
                            return found
                        reason = found
                finally:
                    for task in checks:
                        task.cancel()
                    await asyncio.gather(*checks, return_exceptions=True)
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise ModelNotReady(f"not ready after {seconds:g} s: {reason}", endpoint=config.base_urls[0]) from None


async def _checked(transport: Transport, url: str, key: ApiKey, model: str | None) -> ModelInfo | str:
    """Return the model that an endpoint lists, or why it is not ready.

    Raises:
        AuthenticationFailed: the API key is wrong.
    """
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return _wanted(await _models(transport, url, key), model, url)
    except AuthenticationFailed:
        raise
    except VLLMClientError as error:
        return str(error)
    except TimeoutError:
        return f"{url} does not answer within {CHECK_SECONDS:g} s"


async def is_healthy(transport: Transport, url: str, seconds: float) -> bool:
    """Return whether `GET /health` of an endpoint answers 200."""
    try:
        async with asyncio.timeout(seconds):
            await _health(transport, url)
    except (VLLMClientError, TimeoutError):
        return False
    return True


async def check_endpoints(transport: Transport, endpoints: Sequence[Endpoint], interval: float, seconds: float) -> None:
    """Check endpoints again and again, until it is cancelled."""
    while True:
        results = await asyncio.gather(*(is_healthy(transport, endpoint.url, seconds) for endpoint in endpoints))
        for endpoint, healthy in zip(endpoints, results, strict=True):
            endpoint.healthy = healthy
        await asyncio.sleep(interval)


async def _report(transport: Transport, url: str, key: ApiKey, seconds: float) -> HealthReport:
    try:
        async with asyncio.timeout(seconds):
            models = await _models(transport, url, key)
    except VLLMClientError as error:
        return HealthReport(endpoint=url, healthy=False, reason=str(error))
    except TimeoutError:
        return HealthReport(endpoint=url, healthy=False, reason=f"{url} does not answer within {seconds:g} s")
    if not models:
        return HealthReport(endpoint=url, healthy=False, reason=f"{url} lists no model")
    return HealthReport(endpoint=url, healthy=True, models=tuple(model.id for model in models))


def _wanted(models: Sequence[ModelInfo], name: str | None, url: str) -> ModelInfo:
    for model in models:
        if name is None or model.id == name:
            return model
    listed = ", ".join(model.id for model in models[:10]) or "no model"
    raise ModelNotReady(f"{url} lists {listed}" + (f", not {name}" if name else ""), endpoint=url)


async def _models(transport: Transport, url: str, key: ApiKey) -> tuple[ModelInfo, ...]:
    """Return the models that a healthy endpoint lists."""
    await _health(transport, url)
    response = await transport.send(url, HttpRequest("GET", "/v1/models", headers=key.headers()))
    if response.status != 200:
        raise error_from_answer(response.status, response.headers, await response.read_start(), url, "/v1/models")
    answer = json_object(await response.read(), url)
    try:
        return tuple(ModelInfo.model_validate(model) for model in answer["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidResponse(f"{url}/v1/models lists no models: {error}", endpoint=url) from error


async def _health(transport: Transport, url: str) -> None:
    response = await transport.send(url, HttpRequest("GET", "/health"))
    body = await response.read_start()
    if response.status != 200:
        raise error_from_answer(response.status, response.headers, body, url, "/health")


def cancel_from_any_thread(task: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
    """Cancel a task from any thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
