"""Let a replica stop without losing a request. vllm-operator mounts this file, and vLLM's --middleware loads it.

The kubelet requests PATH before it stops the container. From then on each answer closes its connection. The answer to
the kubelet comes when no request runs, so the container is stopped idle. Locks on files join several API servers.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import os
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

PATH = "/vllm-operator/drain"
PROBES = frozenset({"/health", "/ping", "/metrics", "/version", "/load"})
TOKEN = os.environ.get("OPERATOR_DRAIN_TOKEN", "")
FOLDER = os.path.join("/dev/shm", f"vllm-operator-{os.uname().nodename}-{TOKEN[:8]}")
ENDPOINTS_SECONDS = 8.0  # until all nodes have taken the replica out of the endpoints
QUIET_SECONDS = 2.0  # without a new request, so that clients in steady use have left
POLL_SECONDS = 0.1


class Drain:
    """ASGI middleware: count requests, close connections while draining, and answer the kubelet when idle."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.running = 0
        self.draining = False
        # A lock belongs to one opening of a file: one to hold, one to test.
        self.busy, self.any_busy = open_twice("busy")
        self.drain, self.any_drain = open_twice("drain")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""

        async def send_closing(message: Any) -> None:
            if message["type"] == "http.response.start" and self.is_draining():
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        path = scope.get("path")
        if path == PATH and scope["type"] == "http" and is_kubelet(scope):
            await self.leave(scope, receive, send_closing)
        elif scope["type"] == "lifespan" or path in PROBES:
            await self.app(scope, receive, send_closing)
        else:
            self.begin()
            try:
                await self.app(scope, receive, send_closing)
            finally:
                self.end()

    def begin(self) -> None:
        """Count a request that starts; the first one takes the lock that shows its process as busy."""
        if not self.running:
            fcntl.flock(self.busy, fcntl.LOCK_SH)
        self.running += 1
        os.utime(self.busy)

    def end(self) -> None:
        """Count a request that ended."""
        self.running -= 1
        if not self.running:
            os.utime(self.busy)
            fcntl.flock(self.busy, fcntl.LOCK_UN)

    def is_draining(self) -> bool:
        """Return whether one of the API servers drains."""
        return self.draining or not is_free(self.any_drain, fcntl.LOCK_SH)

    def is_quiet(self) -> bool:
        """Return whether no API server runs a request, and none came for a while."""
        age = time.time() - os.fstat(self.busy).st_mtime
        return not self.running and is_free(self.any_busy, fcntl.LOCK_EX) and not 0 <= age < QUIET_SECONDS

    async def leave(self, scope: Any, receive: Any, send: Any) -> None:
        """Drain until idle, or for the seconds that the kubelet names; stop draining if it hangs up."""
        timeout = float(parse_qs(scope.get("query_string", b""))[b"timeout"][0])
        self.draining = True
        wait = asyncio.ensure_future(self.wait_until_idle(scope.get("app"), time.monotonic() + timeout))
        hang_up = asyncio.ensure_future(disconnected(receive))
        await asyncio.wait((wait, hang_up), return_when=asyncio.FIRST_COMPLETED)
        hang_up.cancel()
        if not wait.done():
            wait.cancel()
            self.draining = False
            fcntl.flock(self.drain, fcntl.LOCK_UN)
            return
        body = b"idle\n" if wait.result() else b"timeout\n"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})

    async def wait_until_idle(self, app: Any, deadline: float) -> bool:
        """Return True when the replica is idle and its kept connections are closed; False at the deadline."""
        earliest = time.monotonic() + ENDPOINTS_SECONDS
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(self.drain, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.monotonic() >= earliest and self.is_quiet():
                close_idle_connections(app)
                await asyncio.sleep(3 * POLL_SECONDS)
                if self.is_quiet():
                    return True
            await asyncio.sleep(POLL_SECONDS)
        return False


def open_twice(name: str) -> list[int]:
    """Open a file that all API servers of the replica share; without a place for it, one of this process alone."""
    path = os.path.join(FOLDER, name)
    try:
        os.makedirs(FOLDER, exist_ok=True)
        return [os.open(path, os.O_RDWR | os.O_CREAT, 0o600) for _ in range(2)]
    except OSError:
        own = os.memfd_create(name)
        return [own, os.open(f"/proc/self/fd/{own}", os.O_RDWR)]


def is_kubelet(scope: Any) -> bool:
    """Return whether a request carries the token from the pod's manifest."""
    sent = dict(scope["headers"]).get(b"x-drain-token", b"")
    return bool(TOKEN) and hmac.compare_digest(sent, TOKEN.encode())


def is_free(file: int, lock: int) -> bool:
    """Return whether no other opening of the file holds a lock against this one."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def close_idle_connections(app: Any) -> None:
    """Close kept connections without a request, so that their clients open new ones elsewhere."""
    server = getattr(getattr(app, "state", None), "server", None)
    for connection in list(getattr(getattr(server, "server_state", None), "connections", ())):
        cycle = getattr(connection, "cycle", connection)
        if cycle is None or getattr(cycle, "response_complete", False):
            connection.shutdown()


async def disconnected(receive: Any) -> None:
    """Return when the client of a request is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
