"""A collector that receives spans by OTLP over HTTP, with the messages of opentelemetry-proto."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

WAIT_SECONDS = 30.0
"""Longest wait for spans; the operator sends a batch each 5 s."""


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived; ids in hexadecimal digits, `parent` empty for a root."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str | int]
    resource: dict[str, str | int]
    is_error: bool


@dataclass
class FakeCollector:
    """The received spans, and the answers that it gives.

    Attributes:
        url: base URL.
        status: status of each answer.
        body: body of each answer; None for that of OTLP.
        headers: further headers of each answer.
        silent: while set, requests get no answer.
    """

    url: str = ""
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    silent: threading.Event = field(default_factory=threading.Event)
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def receive(self, headers: dict[str, str], body: bytes) -> None:
        """Store the spans of a request."""
        message = ExportTraceServiceRequest()
        message.ParseFromString(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
        with self._changed:
            self.requests.append(headers)
            self.spans.extend(_spans(message))
            self._changed.notify_all()

    def wait_for(self, *names: str) -> dict[str, ReceivedSpan]:
        """Return the last span of each name, when all have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: set(names) <= {span.name for span in self.spans}, WAIT_SECONDS), (
                f"only {sorted({span.name for span in self.spans})} arrived"
            )
            return {span.name: span for span in self.spans}

    def wait_for_requests(self, number: int) -> None:
        """Wait until so many requests have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= number, WAIT_SECONDS)


@contextmanager
def fake_collector() -> Iterator[FakeCollector]:
    """Run a collector on loopback for the length of the block."""
    collector = FakeCollector()
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            collector.receive({**headers, ":path": self.path}, body)
            if collector.silent.is_set():
                released.wait(WAIT_SECONDS)
                return
            self.send_response(collector.status)
            answer = ExportTraceServiceResponse().SerializeToString() if collector.body is None else collector.body
            for name, value in {"Content-Length": str(len(answer)), **collector.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(answer)
            except OSError:
                return  # The client has seen enough.

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        released.set()
        server.shutdown()
        server.server_close()


def _spans(message: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _attributes(span.attributes),
                    _attributes(resource.resource.attributes),
                    span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _attributes(pairs: object) -> dict[str, str | int]:
    values = {}
    for pair in pairs:  # type: ignore[attr-defined]  # a repeated field
        values[pair.key] = pair.value.int_value if pair.value.HasField("int_value") else pair.value.string_value
    return values
