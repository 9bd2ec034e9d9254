"""Spans of the client, by the real SDK of OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.helpers.fake_vllm_server import FakeVLLMServer, status
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.config import ClientConfig, RetryPolicy
from vllm_operator.client.hooks import RequestInfo, RequestOutcome
from vllm_operator.client.tracing import ClientTracing


class Traces:
    """A tracer provider and the spans that it got."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def traces() -> Iterator[Traces]:
    found = Traces()
    yield found
    found.provider.shutdown()


def tracing_client(server: FakeVLLMServer, traces: Traces) -> AsyncVLLMClient:
    """Return a client that traces."""
    config = ClientConfig(base_url=server.url, model="tiny", retries=RetryPolicy(base_delay=0.0))
    return AsyncVLLMClient(config, observers=[ClientTracing(traces.provider)])


async def test_call_is_a_span_whose_trace_the_server_gets(server: FakeVLLMServer, traces: Traces) -> None:
    tracer = traces.provider.get_tracer("test")
    async with tracing_client(server, traces) as client:
        with tracer.start_as_current_span("caller") as caller:
            await client.chat("secret question")

    span = traces.spans[0]
    assert (span.name, span.kind) == ("chat tiny", SpanKind.CLIENT)
    assert span.parent is not None
    assert span.parent.span_id == caller.get_span_context().span_id
    assert span.context is not None
    headers = server.requests[-1][1]
    assert headers["traceparent"].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "tiny",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "server.port": int(server.url.rpartition(":")[2]),
        "vllm_client.attempts": 1,
        "vllm_client.stream": False,
    }
    assert "secret" not in span.to_json()


async def test_stream_notes_its_first_token(server: FakeVLLMServer, traces: Traces) -> None:
    async with tracing_client(server, traces) as client:
        await client.stream_chat("a").collect()

    span = traces.spans[0]
    assert [event.name for event in span.events] == ["first_token"]
    assert "vllm_client.time_to_first_token" in (span.attributes or {})


async def test_error_and_retries_are_noted_without_their_messages(server: FakeVLLMServer, traces: Traces) -> None:
    server.answers["/v1/chat/completions"] = [status(500, "secret"), status(400, "secret prompt")]
    async with tracing_client(server, traces) as client:
        with pytest.raises(Exception, match="400"):
            await client.chat("a")

    span = traces.spans[0]
    attributes = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert (attributes["error.type"], attributes["http.response.status_code"]) == ("InvalidRequest", 400)
    assert [(event.name, (event.attributes or {})["error.type"]) for event in span.events] == [
        ("retry", "ServerFailed")
    ]
    assert "secret" not in span.to_json()


async def test_baggage_is_not_sent(server: FakeVLLMServer, traces: Traces) -> None:
    token = context.attach(baggage.set_baggage("user", "alice"))
    try:
        async with tracing_client(server, traces) as client:
            await client.chat("a")
    finally:
        context.detach(token)

    assert "baggage" not in server.requests[-1][1]
    assert "traceparent" in server.requests[-1][1]


def test_cancelled_call_ends_its_span(traces: Traces) -> None:
    tracing = ClientTracing(traces.provider)
    request = RequestInfo("embeddings", "m", False, 0.0)
    tracing.request_started(request)
    tracing.request_finished(request, RequestOutcome("cancelled", None, None, 0.1, None, 0, "https://a/x"))

    attributes = dict(traces.spans[0].attributes or {})
    assert (attributes["vllm_client.cancelled"], attributes["server.port"]) == (True, 443)
    assert request.context == {}


def test_call_that_started_before_the_observer_is_left_alone(traces: Traces) -> None:
    tracing = ClientTracing(traces.provider)
    request = RequestInfo("chat", "m", False, 0.0)

    assert tracing.request_headers(request) == {}
    tracing.first_token(request, 0.1)
    tracing.request_finished(request, RequestOutcome("ok", None, None, 0.1, None, 1, "http://a"))

    assert traces.spans == ()


def test_nothing_of_opentelemetry_is_imported_unless_asked() -> None:
    program = """
        import sys
        import vllm_operator.client.batch, vllm_operator.client.tracing, vllm_operator.client.metrics
        from vllm_operator.client import AsyncVLLMClient
        print([name for name in sys.modules if name.startswith(("opentelemetry", "altair", "rich", "plotext"))])
    """
    program = "\n".join(line.strip() for line in program.splitlines())

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_missing_opentelemetry_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ImportError, match=r"pip install 'vllm-operator\[tracing\]'"):
        ClientTracing()
