"""An HTTP server that gives recorded answers of a real API server, and keeps what it was asked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PAGE_NOT_FOUND = b"404 page not found\n"
"""The answer of an API server of 1.37 to a path of a group that it does not serve."""


def status_object(code: int, reason: str, message: str) -> dict[str, Any]:
    """Return a Status object, as the API server answers a refused request."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }


@dataclass
class FakeApiServer:
    """The server.

    Attributes:
        answers: `METHOD path`, or `METHOD path?labelSelector=...` -> status and body: an object or bytes.
        asked: method, path, query and body of each request.
        url: its address.
    """

    answers: dict[str, tuple[int, Any]]
    asked: list[tuple[str, str, Mapping[str, str], Any]] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, target: str, body: Any) -> tuple[int, bytes]:
        """Return status and body of the answer to a request."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((method, parts.path, query, body))
        labelled = f"{method} {parts.path}?labelSelector={query.get('labelSelector', '')}"
        plain = f"{method} {parts.path}"
        for key in (f"{plain}?previous" if "previous" in query else "", labelled, plain):
            if key in self.answers:
                code, found = self.answers[key]
                return code, found if isinstance(found, bytes) else json.dumps(found).encode()
        if parts.path.startswith("/apis/") and method == "GET" and not self._serves(parts.path):
            return 404, PAGE_NOT_FOUND
        return 404, json.dumps(status_object(404, "NotFound", f"{parts.path} not found")).encode()

    def _serves(self, path: str) -> bool:
        group = "/".join(path.split("/")[:4])
        return any(f" {group}" in key for key in self.answers)

    def writes(self) -> list[tuple[str, str, Any]]:
        """Return method, path and body of the requests that write."""
        return [(method, path, body) for method, path, _, body in self.asked if method not in {"GET"}]


@contextmanager
def fake_api_server(answers: Mapping[str, tuple[int, Any]], folder: Path) -> Iterator[tuple[FakeApiServer, str]]:
    """Run a server with these answers; yield it with the path of a kubeconfig for it."""
    state = FakeApiServer(dict(answers))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            code, body = state.answer(self.command, self.path, json.loads(raw) if raw else None)
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state, str(write_kubeconfig(folder / "kubeconfig", state.url))
    finally:
        server.shutdown()
        server.server_close()


def write_kubeconfig(path: Path, url: str, namespace: str = "llm") -> Path:
    """Write a kubeconfig with one context `test`."""
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "token-of-the-test"}}],
            }
        )
    )
    return path
