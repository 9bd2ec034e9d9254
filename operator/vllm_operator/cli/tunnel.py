"""Forward a local port to a pod, as `kubectl port-forward` does, for as long as a command runs."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from vllm_operator.cli.api_failures import CallError, refused
from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.gathered import engine_port
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import name_of, namespace_of
from vllm_operator.kube.kinds import POD

if TYPE_CHECKING:
    from kubernetes.stream.ws_client import PortForward

    from vllm_operator.cli.cluster import Cluster

CHUNK = 64 * 1024
"""Bytes that are copied at once."""

MOST_CONNECTIONS = 64
"""Local connections at once; each has its own connection to the API server."""

_HANDSHAKE = re.compile(r"Handshake status (\d{3})")


class PodTunnel:
    """A local port that leads to the port of vLLM in a pod. Use it in a `with` block.

    Args:
        cluster: the cluster.
        pod: the pod.

    Attributes:
        url: local base URL.
    """

    def __init__(self, cluster: Cluster, pod: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self._pod = pod
        self._port = engine_port(pod)
        self._listener: socket.socket | None = None
        self._places = threading.Semaphore(MOST_CONNECTIONS)
        self.url = ""

    def __enter__(self) -> Self:
        """Open the port.

        Raises:
            CallError: the API server refuses to forward, or does not answer.
        """
        # The first connection shows a missing right now, and not in the middle of a request.
        self._open().close()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port. Connections end with the process, or with their client."""
        if self._listener is not None:
            self._listener.close()

    def _open(self) -> PortForward:
        """Open one connection to the pod's port."""
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import portforward_call

        path = POD.path(namespace_of(self._pod), name_of(self._pod), "portforward")
        headers = self._cluster.authorization(path)
        try:
            opened: PortForward = portforward_call(
                self._cluster.access.configuration,
                "GET",
                self._cluster.server.rstrip("/") + path,
                headers=headers,
                query_params=[("ports", str(self._port))],
            )
            return opened
        except ApiException as error:
            raise self._failure(path, str(error.reason)) from error

    def _failure(self, path: str, reason: str) -> CallError:
        found = _HANDSHAKE.search(reason)
        if found and found[1] in {"401", "403"}:
            # RBAC checks `create` for a port-forward, and `get` for one over a WebSocket (KEP-4006).
            error = refused("POST", path, int(found[1]), None)
            return CallError(error.message, error.code, error.status, error.reason)
        return CallError(
            f"no port-forward to pod {name_of(self._pod)}: {clean(reason, 300)}: check that the API server reaches the "
            "kubelet of its node (kubectl logs needs the same way)",
            FAILED,
        )

    def _accept(self, listener: socket.socket) -> None:
        """Serve local connections until the listener is closed."""
        while True:
            try:
                local, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(local,), daemon=True).start()

    def _serve(self, local: socket.socket) -> None:
        """Copy both ways between a local connection and the pod, until one side ends."""
        with self._places, local:
            try:
                forward = self._open()
            except CallError:
                # The client of this connection reads an end without an answer, and reports it.
                return
            remote = forward.socket(self._port)
            back = threading.Thread(target=_copy, args=(remote, local), daemon=True)
            back.start()
            _copy(local, remote)
            back.join()
            forward.close()


def _copy(source: Any, target: Any) -> None:
    """Copy bytes until the source ends; then end the target."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
