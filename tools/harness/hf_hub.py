"""Stand in for the Hugging Face hub: serve one folder as one gated model, and count the requests.

`FakeHub` answers the requests that `huggingface_hub` sends when vLLM loads a model. It is one file and needs the
standard library only, because it also runs as a script in a pod:
`python3 hf_hub.py --repo tiny-org/tiny --folder /models/tiny --token secret`.

Besides the hub's own paths it answers `/counts` (requests by method and path) and `/ready`, both without the token.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CHUNK = 1 << 20
RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")


@dataclass
class FakeRepository:
    """A folder seen as a repository with the one branch `main`."""

    name: str
    folder: Path
    token: str | None = None

    @property
    def commit(self) -> str:
        """The commit of `main`: changes with the names and sizes of the files."""
        listing = "\n".join(f"{path} {size}" for path, size in self.files())
        return hashlib.sha1(listing.encode()).hexdigest()

    def files(self) -> list[tuple[str, int]]:
        """Return path and size of every file."""
        paths = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [(path.relative_to(self.folder).as_posix(), path.stat().st_size) for path in paths]

    def file(self, path: str) -> Path | None:
        """Return a file of the repository, or None."""
        return self.folder / path if path in dict(self.files()) else None

    def has(self, revision: str) -> bool:
        """Return whether a branch or commit exists."""
        return revision in {"main", self.commit}

    def info(self) -> dict[str, Any]:
        """Return the hub's description of a model."""
        return {
            "_id": self.commit[:24],
            "id": self.name,
            "modelId": self.name,
            "sha": self.commit,
            "private": False,
            "gated": "manual" if self.token else False,
            "tags": [],
            "siblings": [{"rfilename": path} for path, _ in self.files()],
        }

    def tree(self) -> list[dict[str, Any]]:
        """Return the listing of all files as one page of the hub's."""
        return [{"type": "file", "path": path, "size": size, "oid": etag(path, size)} for path, size in self.files()]


def etag(path: str, size: int) -> str:
    """Return an identifier of a file's content: the folder does not change while it is served."""
    return hashlib.sha1(f"{path} {size}".encode()).hexdigest()


@dataclass
class Counts:
    """Requests by `METHOD path`; a file is counted under its path in the repository."""

    requests: collections.Counter[str] = field(default_factory=collections.Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, method: str, path: str) -> None:
        with self.lock:
            self.requests[f"{method} {path}"] += 1

    def as_json(self) -> dict[str, int]:
        with self.lock:
            return dict(self.requests)


class FakeHub(ThreadingHTTPServer):
    """The server; `url` is what HF_ENDPOINT is set to."""

    daemon_threads = True

    def __init__(self, repository: FakeRepository, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, Answer)
        self.repository = repository
        self.counts = Counts()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    """The answer to one request."""

    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_GET(self) -> None:
        self.route()

    def do_HEAD(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def route(self) -> None:
        """Choose by path; the hub's own paths want the token."""
        path = unquote(urlsplit(self.path).path)
        if path == "/counts":
            self.json(self.server.counts.as_json())
        elif path == "/ready":
            self.json({"ready": True})
        else:
            self.hub(path)

    def hub(self, path: str) -> None:
        """Answer the hub's own paths: model info, tree, path information and files."""
        name = re.escape(self.server.repository.name)
        body = self.body()
        api = re.match(rf"^/api/models/{name}(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?$", path)
        resolve = re.match(rf"^/{name}/resolve/([^/]+)/(.+)$", path)
        if not api and not resolve:
            self.count(path)
            self.refuse(HTTPStatus.NOT_FOUND, "RepoNotFound", f"FakeHub has only {self.server.repository.name}")
        elif resolve:
            self.count(resolve[2])
            self.resolve(resolve[1], resolve[2])
        elif api:
            self.count(path)
            self.describe(api[1] or "", api[2] or "main", api[3] or "", body)

    def count(self, path: str) -> None:
        self.server.counts.add(self.command, path)

    def body(self) -> bytes:
        """Read the posted bytes: unread ones would be parsed as the next request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def admitted(self, revision: str) -> bool:
        """Return whether token and revision are right; refuse the request where they are not."""
        token = self.server.repository.token
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            self.refuse(HTTPStatus.UNAUTHORIZED, "GatedRepo", "Access to this model is restricted: send a token")
            return False
        if not self.server.repository.has(revision):
            self.refuse(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
            return False
        return True

    def describe(self, what: str, revision: str, path: str, body: bytes) -> None:
        """Send model info, the tree below a path, or the information on some paths."""
        if not self.admitted(revision):
            return
        tree = self.server.repository.tree()
        if what == "tree":
            below = [entry for entry in tree if not path or entry["path"].startswith(path.rstrip("/") + "/")]
            if path and not below:
                self.refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", f"{path} does not exist on {revision}")
            else:
                self.json(below)
        elif what == "paths-info":
            self.json([entry for entry in tree if json.dumps(entry["path"]).encode() in body])
        else:
            self.json(self.server.repository.info())

    def resolve(self, revision: str, path: str) -> None:
        """Send a file, whole or in part, with the headers that a client's cache needs."""
        if not self.admitted(revision):
            return
        repository = self.server.repository
        file = repository.file(path)
        if file is None:
            self.refuse(HTTPStatus.NOT_FOUND, "EntryNotFound", f"{path} does not exist on {revision}")
            return
        size = file.stat().st_size
        first, last = self.asked_range(size)
        whole = (first, last) == (0, size - 1)
        self.send_response(HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{etag(path, size)}"')
        self.send_header("X-Repo-Commit", repository.commit)
        if not whole:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command != "HEAD":
            self.send_part(file, first, last)

    def asked_range(self, size: int) -> tuple[int, int]:
        """Return the first and last byte that the client wants."""
        match = RANGE.match(self.headers.get("Range") or "")
        if not match:
            return 0, size - 1
        return int(match[1]), min(int(match[2] or size - 1), size - 1)

    def send_part(self, file: Path, first: int, last: int) -> None:
        with file.open("rb") as source:
            source.seek(first)
            left = last - first + 1
            while left > 0 and (chunk := source.read(min(CHUNK, left))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def json(self, content: Any) -> None:
        self.send_body(HTTPStatus.OK, json.dumps(content).encode(), {"X-Repo-Commit": self.server.repository.commit})

    def refuse(self, status: HTTPStatus, code: str, message: str) -> None:
        """Send an error as the hub does: clients distinguish the cases by X-Error-Code."""
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.send_body(status, json.dumps({"error": message}).encode(), headers)

    def send_body(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder as a gated model of a stand-in Hugging Face hub.")
    parser.add_argument("--repo", required=True, help="name of the model, such as tiny-org/tiny")
    parser.add_argument("--folder", required=True, type=Path, help="folder with the files of the model")
    parser.add_argument("--token", help="what clients must send as a bearer token")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8080, type=int)
    asked = parser.parse_args()
    repository = FakeRepository(asked.repo, asked.folder, asked.token)
    FakeHub(repository, (asked.host, asked.port)).serve_forever()


if __name__ == "__main__":
    main()
