"""Tracing of a server: the spans that vLLM sends to an OpenTelemetry collector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.fields import CelRule, Model

TRACE_ENDPOINT_PATTERN = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?$"


class Tracing(Model):
    """Spans of requests by OTLP. The image of vLLM must hold the packages of OpenTelemetry."""

    endpoint: Annotated[str, Field(min_length=1, max_length=1024, pattern=TRACE_ENDPOINT_PATTERN)] = Field(
        description="URL of the collector (--otlp-traces-endpoint): http://collector.observability:4317 for grpc, "
        "http://collector.observability:4318/v1/traces for http/protobuf. https encrypts.",
    )
    protocol: Literal["grpc", "http/protobuf"] = Field(
        default="grpc", description="Protocol of the collector (OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)."
    )
    service_name: Annotated[str, Field(max_length=255, pattern=r"^[ -~]*$")] = Field(
        default="", description="Name of the service in the spans (OTEL_SERVICE_NAME). Unset: that of the server."
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Share of the requests without a parent span that are traced, 0 to 1 (OTEL_TRACES_SAMPLER_ARG). "
        "Unset: all. Requests with a traceparent follow the caller's decision.",
    )
    detailed: Annotated[list[Literal["model", "worker", "all"]], Field(max_length=3)] = Field(
        default_factory=list,
        description="Parts of vLLM whose steps are timed for each request (--collect-detailed-traces): this costs "
        "speed.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.protocol != 'http/protobuf' || self.endpoint.matches('^https?://[^/]+/.+')",
            "with http/protobuf, vLLM sends to endpoint as it is: add the path, such as /v1/traces",
            field_path=".endpoint",
        ),
        CelRule(
            "self.protocol != 'grpc' || !self.endpoint.matches('^https?://[^/]+/.+')",
            "grpc takes no path: remove it from endpoint, or set protocol: http/protobuf",
            field_path=".endpoint",
        ),
    )
