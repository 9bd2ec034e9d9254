"""A Git repository that is served by HTTP, as `git http-backend` does behind a web server."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

BRANCH = "main"
NAME = "fleet.git"
AUTHOR = {"GIT_AUTHOR_NAME": "tests", "GIT_AUTHOR_EMAIL": "tests@example.org"}
COMMITTER = {"GIT_COMMITTER_NAME": "tests", "GIT_COMMITTER_EMAIL": "tests@example.org"}


@dataclass(frozen=True)
class Repository:
    """A work tree and its commits.

    Attributes:
        folder: the work tree.
        url: where clients fetch it.
    """

    folder: Path
    url: str

    def write(self, path: str, content: Any) -> None:
        """Write a file: a text as it is, an object or a list of objects as YAML."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            target.write_text(yaml.safe_dump_all(content))
        else:
            target.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    def copy(self, source: Path, path: str) -> None:
        """Copy a folder into the work tree."""
        shutil.copytree(source, self.folder / path, dirs_exist_ok=True)

    def commit(self, message: str) -> str:
        """Commit everything; return the hash."""
        _git(self.folder, "add", "--all")
        _git(self.folder, "commit", "--quiet", "--message", message)
        return _git(self.folder, "rev-parse", "HEAD").strip()


@contextmanager
def repository(folder: Path) -> Iterator[Repository]:
    """Create a repository in a folder and serve it on the loopback interface."""
    work = folder / NAME
    work.mkdir(parents=True)
    _git(work, "init", "--quiet", f"--initial-branch={BRANCH}")

    class Handler(_Backend):
        root = folder

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Repository(work, f"http://127.0.0.1:{server.server_port}/{NAME}")
    finally:
        server.shutdown()
        server.server_close()


class _Backend(BaseHTTPRequestHandler):
    """Pass each request to `git http-backend` by CGI."""

    root: Path

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, **AUTHOR, **COMMITTER, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout
