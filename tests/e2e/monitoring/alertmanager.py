"""A real Alertmanager as a process, with the configuration of prometheus-operator, and the receiver of its notices."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from tests.e2e.monitoring.generated import stop
from tools.harness.kube import Object
from tools.harness.operator_process import die_with_parent, free_port

START_SECONDS = 60.0
MOST_BYTES = 1 << 20
"""Longest notice that is read."""


@dataclass(frozen=True)
class Notice:
    """An alert as it reached the receiver.

    Attributes:
        at: seconds since the epoch.
        status: `firing` or `resolved`.
        labels: labels of the alert.
    """

    at: float
    status: str
    labels: dict[str, str]


@dataclass
class Receiver:
    """A webhook on a loopback address, which keeps all notices."""

    url: str
    notices: list[Notice] = field(default_factory=list)

    def first(self, alert: str, status: str, since: float, labels: dict[str, str]) -> float | None:
        """Return when the first notice about an alert came after a time; None while none came."""
        wanted = {"alertname": alert, **labels}.items()
        times = [
            one.at for one in list(self.notices)
            if one.at >= since and one.status == status and wanted <= one.labels.items()
        ]  # fmt: skip
        return min(times, default=None)


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive notices for the length of the block."""
    found = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), MOST_BYTES)
            now = time.time()
            for alert in json.loads(self.rfile.read(length)).get("alerts") or []:
                found.notices.append(Notice(now, alert["status"], alert["labels"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def alertmanager(program: Path, configuration: Object, folder: Path) -> Iterator[str]:
    """Run Alertmanager for the length of the block; yield its address."""
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(program), f"--config.file={folder}/alertmanager.yaml", f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    path = folder / "alertmanager.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        _wait(process, address, path)
        yield address
    finally:
        stop(process)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).read()
            return
        assert process.poll() is None, f"Alertmanager ended:\n{log.read_text(errors='replace')}"
        assert time.monotonic() < deadline, "Alertmanager is not ready"
        time.sleep(0.2)
