"""Make spans of reconciles and of calls to the API server, and send them in the background."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence, Sized
from typing import TYPE_CHECKING, Protocol, TypeVar

from vllm_operator import __version__
from vllm_operator.telemetry.destination import EXTRA_MISSING, Destination, TracingError

if TYPE_CHECKING:
    import aiohttp
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

QUEUE_SPANS = 2048
"""Spans that wait to be sent, about 2 KB each; further ones are dropped."""

BATCH_SPANS = 512
SEND_SECONDS = 5.0
"""Longest time between two batches."""

ATTRIBUTE_LENGTH = 256
STOP_SECONDS = 2.0
"""Time for the last batch when the process ends."""

REPORT_SECONDS = 300.0
"""Shortest time between two log lines about a collector that fails."""

SCOPE = "vllm_operator"
LIBRARY_LOGGERS = ("opentelemetry.exporter", "opentelemetry.sdk")

logger = logging.getLogger(__name__)


class Subject(Protocol):
    """The server that a span is about."""

    def log_attributes(self) -> dict[str, str]:
        """Return its attributes by the names of the semantic conventions."""


Server = TypeVar("Server", bound=Subject)
Result = TypeVar("Result")


class Spans:
    """The spans of one operator process.

    Args:
        target: the collector.

    Raises:
        TracingError: OpenTelemetry is not installed, or one of its variables is wrong.
    """

    def __init__(self, target: Destination) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import SpanLimits, TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            from vllm_operator.telemetry.collector_session import CollectorSession
        except ImportError:
            raise TracingError(f"{target.source}: {EXTRA_MISSING}") from None
        except ValueError as error:
            # The library reads some variables when it is imported.
            raise _wrong_variable(error) from error
        for name in LIBRARY_LOGGERS:
            # They log each failed batch, with what the collector sent.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        resource = {"service.name": "vllm-operator", "service.version": __version__}
        named = {"service.name"} if os.environ.get("OTEL_SERVICE_NAME") else set()
        own = {name: value for name, value in resource.items() if name not in named}
        limits = SpanLimits(max_span_attributes=16, max_events=8, max_span_attribute_length=ATTRIBUTE_LENGTH)
        try:
            self._provider = TracerProvider(
                resource=Resource.create({**own, "service.instance.id": socket.gethostname()}),
                span_limits=limits,
                shutdown_on_exit=False,
            )
            exporter = OTLPSpanExporter(endpoint=target.url, session=CollectorSession())
        except ValueError as error:
            raise _wrong_variable(error) from error
        self._processor = BatchSpanProcessor(
            _reporting(exporter, target.origin),
            max_queue_size=QUEUE_SPANS,
            schedule_delay_millis=SEND_SECONDS * 1000,
            max_export_batch_size=BATCH_SPANS,
        )
        self._provider.add_span_processor(self._processor)
        self._trace = trace
        self._tracer = self._provider.get_tracer(SCOPE, __version__)

    def of_reconcile(self, reconcile: Callable[[Server], Awaitable[Result]]) -> Callable[[Server], Awaitable[Result]]:
        """Return a function that reconciles a server within a span."""

        async def traced(key: Server) -> Result:
            attributes = {name: _readable(value) for name, value in key.log_attributes().items()}
            with self._tracer.start_as_current_span(
                "reconcile", attributes=attributes, record_exception=False, set_status_on_exception=False
            ) as span:
                try:
                    return await reconcile(key)
                except Exception as error:
                    self._fail(span, type(error).__name__)
                    raise

        return traced

    def middleware(self, verb_and_resource: Callable[[str, str, str], tuple[str, str]]) -> aiohttp.ClientMiddlewareType:
        """Return an aiohttp middleware that makes a span of each call; that of a watch ends when its answer begins.

        Args:
            verb_and_resource: returns verb and resource for a method, a path and a query.
        """

        async def traced(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            url = request.url
            verb, resource = verb_and_resource(request.method, url.raw_path, url.raw_query_string)
            attributes: dict[str, str | int] = {
                "http.request.method": request.method,
                "server.address": url.host or "",
                "url.path": _readable(url.raw_path),
                "k8s.api.verb": verb,
                "k8s.api.resource": resource,
            }
            with self._tracer.start_as_current_span(
                f"{verb} {resource}"[:ATTRIBUTE_LENGTH],
                kind=self._trace.SpanKind.CLIENT,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    response = await handler(request)
                except Exception as error:
                    self._fail(span, type(error).__name__)
                    raise
                span.set_attribute("http.response.status_code", response.status)
                if response.status >= 400:
                    self._fail(span, str(response.status))
                return response

        return traced

    def current(self) -> tuple[str, str] | None:
        """Return trace id and span id of the current span in hexadecimal digits; None outside of a span."""
        context = self._trace.get_current_span().get_span_context()
        return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None

    @property
    def queue(self) -> Sized:
        """The spans that wait to be sent."""
        return self._processor._batch_processor._queue

    def flush(self) -> None:
        """Send what waits, and return when that is done."""
        self._processor.force_flush()

    def stop(self) -> None:
        """Send the last batch, for a bounded time."""
        # The library waits for a batch under way without a bound.
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(STOP_SECONDS)

    def _fail(self, span: object, kind: str) -> None:
        if isinstance(span, self._trace.Span):
            span.set_attribute("error.type", kind)
            # The message may quote an object, so only its kind is recorded.
            span.set_status(self._trace.StatusCode.ERROR)


def _wrong_variable(error: ValueError) -> TracingError:
    return TracingError(f"the variables of OpenTelemetry: {str(error)[:ATTRIBUTE_LENGTH]}")


def _readable(value: str) -> str:
    """Return a value that UTF-8 can hold."""
    return value.encode("utf-8", "replace").decode()


def _reporting(exporter: SpanExporter, origin: str) -> SpanExporter:
    """Return an exporter that reports when the collector begins to fail, and when it answers again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Reporting(SpanExporter):
        """Count what was lost, and say so seldom."""

        def __init__(self) -> None:
            self._lost = 0
            self._said = float("-inf")

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = exporter.export(spans)
            except Exception as error:
                logger.debug("%s could not be asked: %s", origin, type(error).__name__)
                result = SpanExportResult.FAILURE
            if result is SpanExportResult.SUCCESS:
                if self._lost:
                    logger.info("the collector %s takes spans again; %d were lost", origin, self._lost)
                self._lost, self._said = 0, float("-inf")
                return result
            self._lost += len(spans)
            if time.monotonic() - self._said > REPORT_SECONDS:
                self._said = time.monotonic()
                logger.warning("the collector %s does not take spans; %d were lost so far", origin, self._lost)
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Reporting()
