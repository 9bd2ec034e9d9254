"""Spans arrive at a collector that speaks OTLP; one that is dead or hostile stops nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from tests.helpers.fake_collector import FakeCollector, fake_collector
from vllm_operator.kube.key import Key
from vllm_operator.kube.request_metrics import rbac_verb_and_resource
from vllm_operator.telemetry import spans as module
from vllm_operator.telemetry.destination import Destination, TracingError
from vllm_operator.telemetry.spans import QUEUE_SPANS, Spans

KEY = Key("llm", "mistral")


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with fake_collector() as found:
        yield found


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "SEND_SECONDS", 0.1)


def spans_to(collector: FakeCollector) -> Spans:
    return Spans(Destination(f"{collector.url}/v1/traces", "--otlp-endpoint"))


async def reconciled(key: Key) -> str:
    return f"reconciled {key}"


async def broken(key: Key) -> str:
    raise ValueError("the message quotes an object")


async def test_reconcile_becomes_a_span_with_its_server(collector: FakeCollector) -> None:
    spans = spans_to(collector)
    assert await spans.of_reconcile(reconciled)(KEY) == "reconciled llm/mistral"
    spans.stop()

    (span,) = collector.spans
    assert (span.name, span.parent, span.is_error) == ("reconcile", "", False)
    assert span.attributes == {"k8s.namespace.name": "llm", "k8s.vllmserver.name": "mistral"}
    assert span.resource["service.name"] == "vllm-operator"
    assert collector.requests[0][":path"] == "/v1/traces"


async def test_failed_reconcile_is_an_error_without_its_message(collector: FakeCollector) -> None:
    spans = spans_to(collector)
    with pytest.raises(ValueError, match="quotes"):
        await spans.of_reconcile(broken)(KEY)
    spans.stop()

    (span,) = collector.spans
    assert span.is_error
    assert span.attributes["error.type"] == "ValueError"
    assert "quotes" not in str(span)


async def test_call_is_a_child_of_its_reconcile(collector: FakeCollector) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=409)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/apis/apps/v1/namespaces/llm/deployments/mistral?dryRun=All"
    spans = spans_to(collector)

    async def reconcile(_: Key) -> tuple[str, str] | None:
        middlewares = (spans.middleware(rbac_verb_and_resource),)
        async with aiohttp.ClientSession(middlewares=middlewares) as session, session.patch(url):
            return spans.current()

    current = await spans.of_reconcile(reconcile)(KEY)
    spans.stop()
    await runner.cleanup()

    found = {span.name: span for span in collector.spans}
    outer, call = found["reconcile"], found["patch deployments"]
    assert (call.trace, call.parent) == (outer.trace, outer.span) == current
    assert call.attributes["http.response.status_code"] == 409
    assert call.attributes["url.path"] == "/apis/apps/v1/namespaces/llm/deployments/mistral"
    assert call.is_error
    assert not outer.is_error


def test_outside_of_a_span_there_is_no_id(collector: FakeCollector) -> None:
    spans = spans_to(collector)
    assert spans.current() is None
    spans.stop()


async def test_variables_name_service_and_headers(collector: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "models")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    spans = spans_to(collector)
    await spans.of_reconcile(reconciled)(KEY)
    spans.stop()

    assert collector.spans[0].resource["service.name"] == "models"
    assert collector.requests[0]["x-tenant"] == "a"
    assert collector.requests[0]["content-encoding"] == "gzip"


async def test_proxy_of_the_environment_is_not_used(collector: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    spans = spans_to(collector)
    await spans.of_reconcile(reconciled)(KEY)
    spans.stop()
    assert len(collector.spans) == 1


HOSTILE = {
    "refuses": {"status": 400},
    "huge": {"status": 200, "body": b"\x00", "headers": {"Content-Length": str(10**12)}},
    "redirect": {"status": 307, "headers": {"Location": "http://127.0.0.1:1/v1/traces"}},
    "garbage": {"status": 200, "body": b"\xff" * 100_000, "headers": {"Content-Encoding": "gzip"}},
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_collector_changes_no_reconcile(kind: str, collector: FakeCollector) -> None:
    for name, value in HOSTILE[kind].items():
        setattr(collector, name, value)
    spans = spans_to(collector)
    reconcile = spans.of_reconcile(reconciled)
    for _ in range(10):
        assert await reconcile(KEY) == "reconciled llm/mistral"
    spans.stop()
    assert len(collector.spans) == 10


async def test_silent_collector_gets_a_bounded_queue(collector: FakeCollector) -> None:
    collector.silent.set()
    spans = spans_to(collector)
    reconcile = spans.of_reconcile(reconciled)
    await reconcile(KEY)
    collector.wait_for_requests(1)

    # All of these end while the collector holds the first batch.
    for _ in range(3 * QUEUE_SPANS):
        await reconcile(KEY)

    assert len(collector.requests) == 1
    assert len(spans.queue) == QUEUE_SPANS
    spans.stop()


async def test_dead_collector_is_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Until then, the library sends a batch again and again.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    spans = Spans(Destination("http://127.0.0.1:1/v1/traces", "--otlp-endpoint"))
    with caplog.at_level("WARNING", logger="vllm_operator"):
        for _ in range(3):
            await spans.of_reconcile(reconciled)(KEY)
            spans.flush()
        spans.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "127.0.0.1:1 " in message] == [
        "the collector http://127.0.0.1:1 does not take spans; 1 were lost so far"
    ]


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingError, match=r"--otlp-endpoint: .*vllm-operator\[otlp\]"):
        Spans(Destination("http://c/v1/traces", "--otlp-endpoint"))
