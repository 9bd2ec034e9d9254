from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from tests.client.faults.server import Connection, eventually, fault_server
from tests.client.faults.wire import HELLO, ROLE, STREAM_HEAD, good, once, pieces, with_length
from tests.helpers.fake_api_server import FakeApiServer, fake_api_server, status_object
from vllm_operator.client import ClientConfig, ConnectionFailed, DiscoveryFailed, RetryPolicy, VLLMClient
from vllm_operator.client.cluster_api import ClusterApi
from vllm_operator.client.port_forward import ForwardedReplica, PortForwarder, is_ready, port_of

PODS = "GET /api/v1/namespaces/llm/pods"


def pod(name: str, *, ready: bool = True, leaving: bool = False, port: int | None = 8000) -> dict[str, Any]:
    metadata = {"name": name} | ({"deletionTimestamp": "2026-03-02T10:00:00Z"} if leaving else {})
    ports = [] if port is None else [{"name": "metrics", "containerPort": 1}, {"name": "http", "containerPort": port}]
    return {
        "metadata": metadata,
        "spec": {"containers": [{"ports": ports}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeApiServer]:
    with fake_api_server({}, tmp_path) as (found, _):
        yield found


@pytest.fixture
def api(fake: FakeApiServer) -> ClusterApi:
    configuration = Configuration()
    configuration.host = fake.url
    return ClusterApi(configuration, "llm", inside=False)


def way_to(port: int) -> Any:
    """Return what opens a Unix socket that leads to a port of loopback, as the API server does."""

    def open_connection(_: ForwardedReplica) -> socket.socket:
        near, far = socket.socketpair()
        remote = socket.create_connection(("127.0.0.1", port))
        for source, target in ((far, remote), (remote, far)):
            threading.Thread(target=pump, args=(source, target), daemon=True).start()
        return near

    return open_connection


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def config(url: str) -> ClientConfig:
    return ClientConfig(base_url=url, model="tiny", retries=RetryPolicy(max_attempts=1))


def test_calls_and_streams_go_through_the_port(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[PODS] = 200, {"items": [pod("a")]}
    with fault_server(good) as server:
        forwarder = PortForwarder(api, "llm", "mistral", open_connection=way_to(server.port))
        with VLLMClient(config(forwarder.start())) as client:
            assert client.chat("hi").content == "Hello, world"
            assert client.stream_chat("hi").collect().content == "Hello, world"
        forwarder.close()
        assert eventually(lambda: server.open == 0)


def test_last_bytes_of_a_connection_that_the_replica_closes_arrive(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[PODS] = 200, {"items": [pod("a")]}
    body = b"x" * 3_000_000

    def answers_and_closes(connection: Connection) -> None:
        connection.request()
        connection.send(with_length(200, body, "connection: close"))

    with fault_server(answers_and_closes) as server:
        forwarder = PortForwarder(api, "llm", "mistral", open_connection=way_to(server.port))
        url = forwarder.start()
        for _ in range(5):
            with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
                assert answer.read() == body
        forwarder.close()


def test_stream_that_is_left_closes_the_connection_to_the_replica(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[PODS] = 200, {"items": [pod("a")]}
    with fault_server(once(lambda c: c.send(STREAM_HEAD, *pieces(ROLE, HELLO)))) as server:
        forwarder = PortForwarder(api, "llm", "mistral", open_connection=way_to(server.port))
        with VLLMClient(config(forwarder.start())) as client:
            with client.stream_chat("hi") as stream:
                assert next(delta.content for delta in stream if delta.content) == "Hello"
            assert eventually(lambda: server.open == 0)
        forwarder.close()


def test_refused_way_is_a_failed_connection_and_the_replicas_are_read_again(
    fake: FakeApiServer, api: ClusterApi
) -> None:
    fake.answers[PODS] = 200, {"items": [pod("a")]}
    refused = threading.Event()

    def open_connection(_: ForwardedReplica) -> socket.socket:
        if refused.is_set():
            raise DiscoveryFailed("the pod is gone")
        return socket.socketpair()[0]

    forwarder = PortForwarder(api, "llm", "mistral", open_connection=open_connection)
    with VLLMClient(config(forwarder.start())) as client:
        refused.set()
        asked = len(fake.asked)
        for _ in range(2):
            with pytest.raises(ConnectionFailed):
                client.chat("hi")
        assert len(fake.asked) > asked
    forwarder.close()


def test_missing_right_to_list_pods_is_named(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[PODS] = 403, status_object(403, "Forbidden", "jane may not")
    with pytest.raises(DiscoveryFailed, match="no right to list the pods of namespace llm"):
        PortForwarder(api, "llm", "mistral").start()


def test_refused_port_forward_is_named(fake: FakeApiServer, api: ClusterApi) -> None:
    fake.answers[PODS] = 200, {"items": [pod("a")]}
    fake.answers["GET /api/v1/namespaces/llm/pods/a/portforward"] = 403, status_object(403, "Forbidden", "no")
    with pytest.raises(DiscoveryFailed, match=r"kubectl auth can-i create pods/portforward -n llm"):
        PortForwarder(api, "llm", "mistral").start()


def test_only_pods_that_are_ready_and_stay_are_used() -> None:
    assert is_ready(pod("a"))
    assert not is_ready(pod("a", ready=False))
    assert not is_ready(pod("a", leaving=True))
    assert not is_ready({"metadata": {}})


def test_port_is_the_one_named_http() -> None:
    assert port_of(pod("a", port=9000)) == 9000
    assert port_of(pod("a", port=None)) == 8000
