"""The official OpenAI SDK with our transport: existing code runs unchanged, and gains our retries and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx2
from openai import AsyncOpenAI, OpenAI

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.hooks import Observer
from vllm_operator.client.httpx_transport import NO_KEY, AsyncVLLMTransport, VLLMTransport
from vllm_operator.client.sync_client import VLLMClient


def openai_client(
    config: ClientConfig | str | None = None, *, observers: Iterable[Observer] = (), **options: Any
) -> OpenAI:
    """Return the synchronous OpenAI SDK for a vLLM.

    The retries are those of the configuration: the SDK makes no others.

    Args:
        config: the configuration, or a base URL.
        observers: receive what happens to requests.
        options: more arguments of `openai.OpenAI`, such as `organization`.
    """
    client = VLLMClient(config, observers=observers)
    timeout = sdk_timeout(client.config)
    http = httpx2.Client(transport=VLLMTransport(client), timeout=timeout)
    return OpenAI(**_arguments(client.config, timeout, options), http_client=http)


def async_openai_client(
    config: ClientConfig | str | None = None, *, observers: Iterable[Observer] = (), **options: Any
) -> AsyncOpenAI:
    """Return the asynchronous OpenAI SDK for a vLLM: `openai_client` says more."""
    client = AsyncVLLMClient(config, observers=observers)
    timeout = sdk_timeout(client.config)
    http = httpx2.AsyncClient(transport=AsyncVLLMTransport(client), timeout=timeout)
    return AsyncOpenAI(**_arguments(client.config, timeout, options), http_client=http)


def sdk_timeout(config: ClientConfig) -> httpx2.Timeout:
    """Return the timeouts of a configuration as httpx2 has them: `read` bounds the whole call."""
    return httpx2.Timeout(config.timeouts.whole, connect=config.timeouts.connect)


def _arguments(config: ClientConfig, timeout: httpx2.Timeout, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "base_url": f"{config.base_urls[0]}/v1",
        "api_key": NO_KEY,
        "max_retries": 0,
        "timeout": timeout,
        **options,
    }
