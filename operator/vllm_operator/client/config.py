"""The settings of a client: where the server is, how long to wait, when to retry, how much to accept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

DEFAULT_BASE_URL = "http://localhost:8000"
"""Address of `vllm serve` on this machine: its default port is 8000."""
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
"""A token of RFC 9110, section 5.6.2."""
MEBIBYTE = 1024 * 1024

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class FrozenSettings(BaseModel):
    """Settings that cannot change, and that refuse unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class Timeouts(FrozenSettings):
    """How long to wait, in seconds. None means without end; `connect` always has one."""

    connect: Seconds = 5.0
    """Seconds to open a connection, TLS included."""
    first_token: Seconds | None = 120.0
    """Seconds from sending a streaming request to its first token: the time in the queue and of the prefill."""
    between_tokens: Seconds | None = 60.0
    """Seconds between two tokens of a stream."""
    whole: Seconds | None = 600.0
    """Seconds for the whole call: all attempts, the delays between them, and the last token."""


class RetryPolicy(FrozenSettings):
    """When a failed request is sent again, after a random delay between 0 and a bound that doubles: full jitter."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    """Attempts for one call, the first one included. 1 turns retries off."""
    base_delay: float = Field(default=0.5, ge=0, le=60)
    """Upper bound of the first delay in seconds; it doubles with each attempt."""
    max_delay: float = Field(default=30.0, ge=0, le=3600)
    """Largest upper bound of a delay in seconds."""
    max_retry_after: float = Field(default=60.0, ge=0, le=3600)
    """Longest `Retry-After` in seconds that is waited for. A longer one raises the error at once."""
    budget_ratio: float = Field(default=0.2, ge=0, le=1)
    """Retries that each request adds to the budget which all requests of a client share."""
    budget_burst: float = Field(default=100.0, ge=0, le=1_000_000)
    """Most retries that the budget holds. It is full at the start. 0 turns retries off."""
    restart_streams: bool = False
    """Start a stream that broke after its first token again from the beginning.

    The delta that follows has `restarted=True`: discard everything before it.
    """


class CircuitBreakerConfig(FrozenSettings):
    """When an endpoint that fails receives no more requests for a while."""

    enabled: bool = True
    failure_threshold: int = Field(default=5, ge=1, le=10_000)
    """Failures in a row that open the breaker."""
    recovery_timeout: Seconds = 30.0
    """Seconds until an open breaker lets one request through to test the endpoint."""
    success_threshold: int = Field(default=1, ge=1, le=1000)
    """Successes in a row, one at a time, that close a half-open breaker."""


class HealthCheckConfig(FrozenSettings):
    """How the endpoints of a client with several base URLs are checked, by `GET /health`."""

    enabled: bool = True
    interval: Seconds = 5.0
    """Seconds between two checks of an endpoint."""
    timeout: Seconds = 2.0
    """Seconds until a check counts as failed."""


class Limits(FrozenSettings):
    """Bounds on connections, and on what is accepted from a server."""

    max_connections: int = Field(default=1000, ge=1, le=100_000)
    """Connections at once; more requests wait for one."""
    keepalive: float = Field(default=4.0, ge=0, le=3600)
    """Seconds that an idle connection is kept. vLLM closes one after 5 seconds by default."""
    max_response_bytes: int = Field(default=64 * MEBIBYTE, ge=1024, le=16 * 1024 * MEBIBYTE)
    """Bytes of an answer, or of all events of a stream."""
    max_event_bytes: int = Field(default=4 * MEBIBYTE, ge=1024, le=1024 * MEBIBYTE)
    """Bytes of one event of a stream."""


class ClientConfig(FrozenSettings):
    """Everything that a client needs to know."""

    base_url: str | tuple[str, ...] = DEFAULT_BASE_URL
    """Base URL of the server, with or without `/v1`; several for several replicas or servers of one model."""
    model: str | None = None
    """Name of the model. None is the model that the server lists first."""
    api_key: SecretStr | None = None
    """API key. None reads the environment variable VLLM_API_KEY. An empty one sends none."""
    api_key_file: Path | None = None
    """File that holds the API key, such as a mounted Secret. It is read again after it changed."""
    ca_file: Path | None = None
    """PEM file with the certificate authorities that sign the server's certificate. None uses those of the system."""
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Headers of every request."""
    timeouts: Timeouts = Timeouts()
    retries: RetryPolicy = RetryPolicy()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    health_checks: HealthCheckConfig = HealthCheckConfig()
    limits: Limits = Limits()
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens to generate at most, when a call does not say. None leaves it to the server."""
    temperature: float | None = Field(default=None, ge=0)
    """Temperature when a call does not say. None leaves it to the server; 0.0 is sent as 0.0."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling when a call does not say. None leaves it to the server."""

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        urls = (value,) if isinstance(value, str) else value
        if not urls:
            raise ValueError("names no URL: give at least one, such as http://localhost:8000")
        normal = tuple(dict.fromkeys(normalized_base_url(url) for url in urls))
        return normal[0] if isinstance(value, str) else normal

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str]) -> dict[str, str]:
        return dict(checked_headers(value))

    @property
    def base_urls(self) -> tuple[str, ...]:
        """All base URLs, without `/v1` and without a slash at the end."""
        return (self.base_url,) if isinstance(self.base_url, str) else self.base_url


def normalized_base_url(url: str) -> str:
    """Return a base URL without `/v1` and without a slash at the end.

    Raises:
        ValueError: the URL is not an absolute http or https URL.
    """
    try:
        parts = urlsplit(url.strip())
        _check_parts(parts)
    except ValueError as error:
        raise ValueError(f"{_without_userinfo(url)!r} is no base URL: {error}") from None
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _check_parts(parts: SplitResult) -> None:
    """Raise a ValueError that says what is wrong with the parts of a base URL."""
    if parts.scheme not in ("http", "https"):
        raise ValueError("it does not start with http:// or https://")
    if not parts.hostname:
        raise ValueError("it has no host")
    if any(character.isspace() or not character.isprintable() for character in parts.geturl()):
        raise ValueError("it has a space or a control character: write %20 for a space")
    if "@" in parts.netloc:
        raise ValueError("it holds credentials; use api_key")
    if parts.query or parts.fragment:
        raise ValueError("it has a query or a fragment")
    parts.port  # noqa: B018  Reading it raises a ValueError for a port that is no number up to 65535.


def _without_userinfo(url: str) -> str:
    """Return a URL for a message: credentials in front of the host become `***`."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://***@{tail}" if at else url


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers that cannot break the request apart.

    Raises:
        ValueError: a name or a value has characters that HTTP does not allow there.
    """
    for name, text in headers.items():
        if not HEADER_NAME.fullmatch(name) or not (text.isascii() and text.isprintable()):
            raise ValueError(f"headers: {name!r} is no header name, or its value has characters that no header takes")
    return headers
