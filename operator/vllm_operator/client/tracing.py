"""Spans of OpenTelemetry for the requests of a client, and the header `traceparent` that joins them to vLLM's spans.

`AsyncVLLMClient(config, observers=[ClientTracing()])` makes one span for each call. OpenTelemetry is imported when a
`ClientTracing` is created, and not before. Prompts and answers are never part of a span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vllm_operator.client.errors import VLLMClientError
from vllm_operator.client.hooks import Observer, RequestInfo, RequestOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, TracerProvider

CONTEXT_KEY = "vllm_operator.tracing"
"""Key of the span in `RequestInfo.context`."""
OPERATION_NAMES = {"chat": "chat", "completions": "text_completion", "embeddings": "embeddings"}
"""Values of `gen_ai.operation.name` in OpenTelemetry's semantic conventions. Other operations keep their own name."""
PORTS = {"http": 80, "https": 443}


class ClientTracing(Observer):
    """An observer that makes a span for each call, as a child of the caller's current span."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        """Use a tracer provider; None uses the global one.

        Raises:
            ImportError: OpenTelemetry is not installed.
        """
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ImportError("ClientTracing needs OpenTelemetry: pip install 'vllm-operator[tracing]'") from error
        self._trace = trace
        self._tracer = trace.get_tracer("vllm_operator.client", tracer_provider=tracer_provider)
        # Only the trace context is sent: baggage may hold what a server should not see.
        self._propagator = TraceContextTextMapPropagator()

    def request_started(self, request: RequestInfo) -> None:
        """Start the span of a call."""
        operation = OPERATION_NAMES.get(request.operation, request.operation)
        attributes: dict[str, str | bool] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "vllm",
            "vllm_client.stream": request.stream,
        }
        if request.model:
            attributes["gen_ai.request.model"] = request.model
        request.context[CONTEXT_KEY] = self._tracer.start_span(
            f"{operation} {request.model}".strip(), kind=self._trace.SpanKind.CLIENT, attributes=attributes
        )

    def request_headers(self, request: RequestInfo) -> Mapping[str, str]:
        """Return `traceparent`, and `tracestate` if the trace has one."""
        headers: dict[str, str] = {}
        if (span := self._span(request)) is not None:
            self._propagator.inject(headers, context=self._trace.set_span_in_context(span))
        return headers

    def first_token(self, request: RequestInfo, seconds: float) -> None:
        """Note the first token as an event."""
        if (span := self._span(request)) is not None:
            span.add_event("first_token", {"seconds": seconds})

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Note a failed attempt as an event."""
        if (span := self._span(request)) is not None:
            name = type(error).__name__
            span.add_event(
                "retry", {"error.type": name, "attempt": attempt, "delay": delay, "endpoint": error.endpoint}
            )

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        """End the span of a call with tokens, endpoint and error."""
        span = self._span(request)
        request.context.pop(CONTEXT_KEY, None)
        if span is None:
            return
        span.set_attributes(_end_attributes(request, outcome))
        if outcome.status == "error":
            # The message may quote the request, so only the class of the error is recorded.
            name = type(outcome.error).__name__
            span.set_attribute("error.type", name)
            span.set_status(self._trace.StatusCode.ERROR, name)
        span.end()

    def _span(self, request: RequestInfo) -> Span | None:
        """Return the span of a call."""
        span = request.context.get(CONTEXT_KEY)
        return span if isinstance(span, self._trace.Span) else None


def _end_attributes(request: RequestInfo, outcome: RequestOutcome) -> dict[str, str | int | float]:
    """Return what is known about a call at its end, by the names of OpenTelemetry's semantic conventions."""
    found: dict[str, str | int | float] = {"vllm_client.attempts": outcome.attempts}
    if request.model:
        found["gen_ai.request.model"] = request.model
    if outcome.status == "cancelled":
        found["vllm_client.cancelled"] = True
    if outcome.endpoint:
        parts = urlsplit(outcome.endpoint)
        found["server.address"] = parts.hostname or ""
        found["server.port"] = parts.port or PORTS.get(parts.scheme, 0)
    if outcome.time_to_first_token is not None:
        found["vllm_client.time_to_first_token"] = outcome.time_to_first_token
    if outcome.usage is not None:
        found["gen_ai.usage.input_tokens"] = outcome.usage.prompt_tokens
        found["gen_ai.usage.output_tokens"] = outcome.usage.completion_tokens
    if outcome.error is not None and outcome.error.status_code is not None:
        found["http.response.status_code"] = outcome.error.status_code
    return found
