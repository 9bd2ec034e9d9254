"""A port of loopback that leads to the replicas of a server, through the API server.

Each connection gets its own way to a ready replica: when replicas are replaced, new connections go to new replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from vllm_operator.client.cluster_api import ClusterApi, Forbidden, NotFound
from vllm_operator.client.errors import DiscoveryFailed, ModelNotReady
from vllm_operator.client.loop_thread import LoopThread

T = TypeVar("T")
SELECTOR = "app.kubernetes.io/component=server,app.kubernetes.io/name=vllm,app.kubernetes.io/instance={}"
"""Labels of the replicas of a server."""
PORT_NAME = "http"
"""Name of vLLM's port in a replica."""
DEFAULT_PORT = 8000
"""vLLM's port where a replica names none."""
POD_SECONDS = 2.0
"""Seconds for which the list of replicas is used again."""
MOST_CONNECTIONS = 200
"""Connections at once: each has a thread and a connection to the API server. More wait."""
MOST_OPENING = 32
"""Connections that are opened at the same time."""
OPEN_SECONDS = 20.0
"""Seconds until a connection through the API server is open."""
FLUSH_SECONDS = 5.0
"""Seconds in which the client of a connection takes its last bytes, after the replica has closed it."""
PART_BYTES = 64 * 1024
"""Bytes that are copied at once."""


@dataclass(frozen=True)
class ForwardedReplica:
    """A pod that is ready.

    Attributes:
        name: name of the pod.
        port: vLLM's port in it.
    """

    name: str
    port: int


Open = Callable[[ForwardedReplica], socket.socket]
"""Opens one connection to a replica."""


class PortForwarder:
    """Listens on loopback, and connects to ready replicas.

    Args:
        api: the API server.
        namespace: namespace of the server.
        name: name of the server.
        open_connection: opens one connection; None opens it through the API server.
    """

    def __init__(self, api: ClusterApi, namespace: str, name: str, *, open_connection: Open | None = None) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._open = open_connection or self._open_through_api_server
        self._lock = threading.Lock()
        self._replicas: list[ForwardedReplica] = []
        self._listed = float("-inf")
        self._load: Counter[str] = Counter()
        self._thread: LoopThread | None = None
        self._server: asyncio.Server | None = None
        self._places: asyncio.Semaphore | None = None
        self._executor = ThreadPoolExecutor(MOST_OPENING, thread_name_prefix="vllm-port-forward")

    def start(self) -> str:
        """Return the base URL, after one connection has shown that forwarding works.

        Raises:
            DiscoveryFailed: the API server forwards nothing.
            ModelNotReady: no replica is ready.
        """
        replica = self._choose()
        self._open(replica).close()
        self._thread = LoopThread()
        return self._thread.run(self._listen())

    def close(self) -> None:
        """Close the port and all connections."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.run(self._stop_listening())
            thread.stop()

    async def _listen(self) -> str:
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PART_BYTES)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy both ways until one side ends."""
        assert self._places is not None
        try:
            async with self._places:
                await self._forward(reader, writer)
        except (DiscoveryFailed, ModelNotReady, OSError):
            pass  # The client reads an end without an answer, and reports or retries it.
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replica = await self._in_thread(self._choose)
        self._load[replica.name] += 1
        try:
            try:
                sock = await self._in_thread(self._open, replica)
            except (DiscoveryFailed, TimeoutError):
                self._listed = float("-inf")
                raise
            back, forth = await asyncio.open_unix_connection(sock=sock, limit=PART_BYTES)
            try:
                copies = [asyncio.create_task(_copy(reader, forth)), asyncio.create_task(_copy(back, writer))]
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
                await _flush(writer)
            finally:
                for copy in copies:
                    copy.cancel()
                forth.transport.abort()
        finally:
            self._load[replica.name] -= 1

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return the result of a call of the API server, which must not take long.

        Raises:
            TimeoutError: it takes longer than `OPEN_SECONDS`.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_SECONDS):
            return await loop.run_in_executor(self._executor, function, *arguments)

    def _choose(self) -> ForwardedReplica:
        """Return the ready replica with the least connections.

        Raises:
            ModelNotReady: none is ready.
        """
        with self._lock:
            if time.monotonic() - self._listed > POD_SECONDS:
                self._replicas = self._ready_replicas()
                self._listed = time.monotonic()
            if not self._replicas:
                raise ModelNotReady(f"VLLMServer {self._namespace}/{self._name} has no replica that is ready")
            return min(self._replicas, key=lambda replica: self._load[replica.name])

    def _ready_replicas(self) -> list[ForwardedReplica]:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        try:
            pods = self._api.get(path, {"labelSelector": SELECTOR.format(self._name), "limit": "500"}).get("items", [])
        except (Forbidden, NotFound) as error:
            raise DiscoveryFailed(
                f"no right to list the pods of namespace {self._namespace}, which a port-forward needs: {error}; "
                f"check with: kubectl auth can-i list pods -n {self._namespace}"
            ) from None
        return [ForwardedReplica(pod["metadata"]["name"], port_of(pod)) for pod in pods if is_ready(pod)]

    def _open_through_api_server(self, replica: ForwardedReplica) -> socket.socket:
        """Return a socket whose other end is a port of a pod."""
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import portforward_call

        path = f"/api/v1/namespaces/{self._namespace}/pods/{replica.name}/portforward"
        configuration = self._api.configuration
        try:
            forward = portforward_call(
                configuration, "GET", configuration.host + path, headers=self._api.headers(),
                query_params=[("ports", str(replica.port))],
            )  # fmt: skip
        except ApiException as error:
            raise DiscoveryFailed(self._refusal(replica, str(error.reason))) from error
        lent = forward.socket(replica.port)
        own = socket.socket(fileno=os.dup(lent.fileno()))
        # The way to the pod ends with the last descriptor of this socket.
        lent.close()
        return own

    def _refusal(self, replica: ForwardedReplica, reason: str) -> str:
        if re.search(r"Handshake status 40[13]", reason):
            # RBAC checks `create` for a port-forward, and `get` for one over a WebSocket.
            return (
                f"no right to forward a port to the pods of namespace {self._namespace}; check with: "
                f"kubectl auth can-i create pods/portforward -n {self._namespace}"
            )
        text = "".join(letter if letter.isprintable() else " " for letter in reason[:300])
        return f"no port-forward to pod {self._namespace}/{replica.name}: {text}"


async def _flush(writer: asyncio.StreamWriter) -> None:
    """Close a connection after everything that was written to it is sent."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            writer.close()
            await writer.wait_closed()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until the source ends, or the target takes no more."""
    with contextlib.suppress(OSError):
        while part := await source.read(PART_BYTES):
            target.write(part)
            await target.drain()


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ready, and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def port_of(pod: Mapping[str, Any]) -> int:
    """Return vLLM's port in a pod."""
    containers = (pod.get("spec") or {}).get("containers") or []
    ports = [port for container in containers for port in container.get("ports") or []]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == PORT_NAME), DEFAULT_PORT)
