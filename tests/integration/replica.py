"""Stands in for replicas at an address of the loopback interface, where the test lets a pod be."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools.harness.kube import Object

IDLE = 'process_open_fds 30.0\nvllm:num_requests_running{engine="0"} 0.0\n'
"""The numbers of an engine that has nothing to do."""

MODELS = json.dumps({"data": [{"id": "tiny", "max_model_len": 512}]})


class FakeReplica(http.server.ThreadingHTTPServer):
    """Answers as a vLLM that serves, and notes what it is asked.

    Attributes:
        asked: paths of the GETs.
        completions: bodies of the POSTs.
    """

    daemon_threads = True

    def __init__(self, address: str, version: str, metrics: str, *, stalled: bool) -> None:
        super().__init__((address, 8000), _Handler)
        self.asked: list[str] = []
        self.completions: list[Object] = []
        self.stalled = stalled
        self.closing = threading.Event()
        self.answers: Mapping[str, str] = {
            "/health": "",
            "/v1/models": MODELS,
            "/version": json.dumps({"version": version}),
            "/metrics": metrics,
        }

    def times(self, path: str) -> int:
        """How often this path was asked for."""
        return self.asked.count(path)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FakeReplica

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._answer(self.server.answers.get(self.path, "{}"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.completions.append(json.loads(body))
        if self.server.stalled:
            self.server.closing.wait(120)
        else:
            self._answer("{}")

    def _answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def fake_replica(
    address: str, version: str = "0.32.0", metrics: str = IDLE, *, stalled: bool = False
) -> Iterator[FakeReplica]:
    """A stand-in that answers at port 8000 of this address; one that is stalled answers all but completions."""
    with FakeReplica(address, version, metrics, stalled=stalled) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
