"""Where spans go: the option, or the standard variables of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from vllm_operator.errors import VLLMOperatorError

TRACES_PATH = "/v1/traces"
"""Path that OTLP/HTTP appends to a base URL (opentelemetry.io/docs/specs/otlp)."""

TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
BASE_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"

HIGHEST_PORT = 65_535

EXTRA_MISSING = (
    "OpenTelemetry is not installed: install vllm-operator[otlp], or build the image with "
    "--build-arg EXTRAS=otlp (docs/reference/traces.md)"
)


class TracingError(VLLMOperatorError):
    """Tracing was asked for and cannot start; the message names the option or variable."""


@dataclass(frozen=True)
class Destination:
    """A collector.

    Attributes:
        url: whole URL of its traces.
        source: the option or variable that named it.
    """

    url: str
    source: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, for log lines: the rest of the URL may hold a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def destination(option: str, environment: Mapping[str, str]) -> Destination | None:
    """Return the collector; None when tracing is off.

    Args:
        option: value of `--otlp-endpoint`, a base URL; empty when it was not given.
        environment: the variables of the process.

    Raises:
        TracingError: the URL or the protocol cannot be used.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if option:
        found = Destination(_with_path(option), "--otlp-endpoint")
    elif whole := environment.get(TRACES_ENDPOINT):
        found = Destination(whole, TRACES_ENDPOINT)
    elif base := environment.get(BASE_ENDPOINT):
        found = Destination(_with_path(base), BASE_ENDPOINT)
    else:
        return None
    _check_url(found)
    for variable in PROTOCOLS:
        if (protocol := environment.get(variable)) is not None:
            if protocol != PROTOCOL:
                raise TracingError(f"{variable}: the operator sends spans by {PROTOCOL}, not by {protocol[:40]!r}")
            break
    return found


def _with_path(base: str) -> str:
    return base if base.rstrip("/").endswith(TRACES_PATH) else f"{base.rstrip('/')}{TRACES_PATH}"


def _check_url(found: Destination) -> None:
    try:
        parts = urlsplit(found.url)
        port = parts.port
    except ValueError as error:
        raise TracingError(f"{found.source}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise TracingError(
            f"{found.source}: write the http or https URL of a collector, such as http://collector.observability:4318"
        )
    if parts.username is not None:
        # A URL with a password would appear in logs.
        raise TracingError(f"{found.source}: remove the user from the URL, and use OTEL_EXPORTER_OTLP_HEADERS")
