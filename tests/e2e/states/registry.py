"""FakeRegistry: a stand-in for a registry with one image: `public/` for everyone, the rest for who has the password.

It speaks as much of the distribution protocol as containerd needs to pull. It is one file of standard library only,
because it runs as a script in a node's network: `python3 registry.py FOLDER PORT PASSWORD`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER = "puller"
TLS_HANDSHAKE = b"\x16"


class FakeRegistry(ThreadingHTTPServer):
    """The server; `folder` is an image in OCI layout, and every repository and tag is that image."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, password: str) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.folder = folder
        self.wanted = "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()
        self.made: dict[str, bytes] = {}
        self.manifests = {kind: self.variant(kind) for kind in ("public", "private")}

    def variant(self, kind: str) -> str:
        """Return the digest of a manifest with the image's layers and another id.

        The kubelet remembers by id which images need a password, and would not start the one that was imported.
        """
        named = json.loads((self.folder / "index.json").read_text())["manifests"][0]["digest"]
        manifest = json.loads(self.blob(named) or b"")
        config = json.loads(self.blob(manifest["config"]["digest"]) or b"")
        content = json.dumps({**config, "author": kind}).encode()
        manifest["config"] |= {"digest": self.keep(content), "size": len(content)}
        return self.keep(json.dumps(manifest).encode())

    def keep(self, content: bytes) -> str:
        """Serve this too; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.made[digest] = content
        return digest

    def blob(self, digest: str) -> bytes | None:
        """A blob; None when there is none."""
        path = self.folder / "blobs" / digest.replace(":", "/")
        return self.made.get(digest) or (path.read_bytes() if path.is_file() else None)


class Answer(BaseHTTPRequestHandler):
    """The answer to one request."""

    protocol_version = "HTTP/1.1"
    server: FakeRegistry

    def do_GET(self) -> None:
        self.route(with_body=True)

    def do_HEAD(self) -> None:
        self.route(with_body=False)

    def handle_one_request(self) -> None:
        """Refuse TLS in the words by which containerd knows a registry of plain HTTP."""
        if self.rfile.peek(1)[:1] == TLS_HANDSHAKE:  # type: ignore[attr-defined]
            self.wfile.write(b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.close_connection = True
        else:
            super().handle_one_request()

    def log_message(self, *_: object) -> None:
        """Say nothing of a request that is answered."""

    def route(self, with_body: bool) -> None:
        found = re.fullmatch(r"/v2/(public|private)/.+/(manifests|blobs)/(\S+)", self.path)
        if not (found and found[1] == "public") and self.headers.get("Authorization") != self.server.wanted:
            self.refuse(401, "UNAUTHORIZED", "authentication required")
            return
        manifest = self.server.manifests[found[1]] if found else ""
        if found and found[2] == "manifests" and found[3] in ("latest", manifest):
            self.send(manifest, "application/vnd.oci.image.manifest.v1+json", with_body)
        elif found and found[2] == "blobs":
            self.send(found[3], "application/octet-stream", with_body)
        else:
            self.refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")

    def send(self, digest: str, kind: str, with_body: bool) -> None:
        content = self.server.blob(digest)
        if content is None:
            self.refuse(404, "BLOB_UNKNOWN", "blob unknown")
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Docker-Content-Digest", digest)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    FakeRegistry(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]).serve_forever()
