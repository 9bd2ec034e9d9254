from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import ws_client

from tests.helpers.fake_api_server import write_kubeconfig
from tests.helpers.pods import loading_pod, ready_pod
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.cli.tunnel import PodTunnel, _quiet_threads


class FakePortForward:
    """The part of the official client's PortForward that is used: a Unix socket that leads to the pod's port."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket, far = socket.socketpair()
        remote = socket.create_connection(address)
        for source, target in ((far, remote), (remote, far)):
            threading.Thread(target=pump, args=(source, target), daemon=True).start()

    def socket(self, port: int) -> socket.socket:
        assert port == 8000
        return self._socket


def pump(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes until the source ends."""
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def replica() -> Iterator[tuple[str, int]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield ("127.0.0.1", server.server_address[1])
        server.shutdown()


@pytest.fixture
def tunnel(tmp_path: Path) -> PodTunnel:
    path = write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1")
    pod = {**ready_pod("a"), "metadata": {"name": "a", "namespace": "llm"}}
    return PodTunnel(Cluster(ClusterOptions(kubeconfig=str(path))), pod)


def test_bytes_go_both_ways_over_several_connections(
    tunnel: PodTunnel, replica: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def forward(configuration: Any, method: str, url: str, **options: Any) -> FakePortForward:
        asked.append((method, url, options["query_params"], options["headers"]["authorization"]))
        return FakePortForward(replica)

    monkeypatch.setattr(ws_client, "portforward_call", forward)
    text = b"x" * 1_000_000
    with tunnel:
        host = tunnel.url.removeprefix("http://")
        for _ in range(2):
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.request("POST", "/", text)
            assert connection.getresponse().read() == text
            connection.close()
    assert len(asked) == 3
    path = "http://127.0.0.1:1/api/v1/namespaces/llm/pods/a/portforward"
    assert asked[0] == ("GET", path, [("ports", "8000")], "Bearer token-of-the-test")


@pytest.mark.parametrize(
    ("reason", "code", "words"),
    [
        ("Handshake status 403 Forbidden -+-+- {}", 3, "kubectl auth can-i create pods/portforward -n llm"),
        ("Handshake status 401 Unauthorized", 3, "no right to forward a port"),
        ("Handshake status 500 Internal Server Error", 1, "no port-forward to pod llm/a: Handshake status 500"),
        ("[Errno 111] Connection refused", 1, "no port-forward to pod llm/a: [Errno 111] Connection refused"),
    ],
)
def test_refused_port_forward_is_named(
    reason: str, code: int, words: str, tunnel: PodTunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any, **__: Any) -> None:
        raise ApiException(status=0, reason=reason)

    monkeypatch.setattr(ws_client, "portforward_call", forward)
    with pytest.raises(CallError) as caught, tunnel:
        pass
    assert caught.value.code == code
    assert words in caught.value.message


def test_connection_that_cannot_be_forwarded_later_ends(
    tunnel: PodTunnel, replica: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_client, "portforward_call", lambda *_, **__: FakePortForward(replica))
    with tunnel:

        def forward(*_: Any, **__: Any) -> None:
            raise ApiException(status=0, reason="gone")

        monkeypatch.setattr(ws_client, "portforward_call", forward)
        connection = http.client.HTTPConnection(tunnel.url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            connection.getresponse()


def test_real_port_forward_of_an_unreachable_cluster_is_named(tunnel: PodTunnel) -> None:
    with pytest.raises(CallError, match=r"no port-forward to pod llm/a: .*refused"), tunnel:
        pass


def test_pod_that_is_not_ready_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1")
    pod = {**loading_pod("a"), "metadata": {"name": "a", "namespace": "llm"}}
    with (
        pytest.raises(CallError, match="pod a is not ready"),
        PodTunnel(Cluster(ClusterOptions(kubeconfig=str(path))), pod),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "error", "is_shown"),
    [
        ("Kubernetes port forward proxy: 8000", BrokenPipeError(32, "Broken pipe"), False),
        ("Kubernetes port forward proxy: 8000", KeyError("x"), True),
        ("another", BrokenPipeError(32, "Broken pipe"), True),
    ],
)
def test_closed_connections_of_forwarding_threads_print_nothing(
    name: str, error: Exception, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    _quiet_threads.cache_clear()
    _quiet_threads()

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join()
    assert bool(shown) == is_shown
    _quiet_threads.cache_clear()
