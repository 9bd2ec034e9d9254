"""Stands in for kubelets and replicas of vLLM under a load that a test sets: pods become Ready, and answer `/metrics`.

No vLLM runs here. The answers are those of a recorded vLLM 0.32, with the numbers of the load. The requests in flight
are divided evenly over the replicas that serve, as a Service would; a replica runs `max_num_seqs` of its part, and the
rest of it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tools.harness.kube import Kube, Object
from tools.harness.operator_process import free_port
from tools.localcluster.settings import REPOSITORY

PORT = 8000
METRICS = REPOSITORY / "tests" / "data" / "vllm-0.32-metrics.txt"
MODELS = json.dumps({"object": "list", "data": [{"id": "tiny", "max_model_len": 512}]}).encode()
POLL_SECONDS = 0.1
METRICS_TYPE = b"text/plain; version=1.0.0; charset=utf-8"
LONG_AGO = "2026-01-01T00:00:00Z"


@dataclass
class FakeReplica:
    """One replica: its address, and what it does.

    Attributes:
        is_silent: it accepts connections and answers nothing.
        has_metrics: it exports the metrics of the engine, as without `--disable-log-stats`.
        finished: requests that it has finished.
        own: requests in flight at this replica alone, besides its part of the load.
        asked: times of its answers to `/metrics`, by the monotonic clock.
    """

    address: str
    is_silent: bool = False
    has_metrics: bool = True
    finished: int = 0
    own: float = 0.0
    asked: list[float] = field(default_factory=list)


class FakeFleet:
    """The replicas of one namespace. Start it as a context manager; its methods may be called from any thread.

    Args:
        kube: the administrator's access.
        namespace: where its pods are.
        network: second part of its loopback addresses: no two fleets may share one.
        start_seconds: seconds from the creation of a pod until it is Ready.
        max_num_seqs: requests that a replica runs at once.

    Attributes:
        in_flight: requests in flight, over all replicas of a server, by the server's name.
        replicas: pod -> its replica, from its creation on.
        ready: pods that are Ready.
    """

    def __init__(
        self, kube: Kube, namespace: str, network: int, start_seconds: float = 0.0, max_num_seqs: int = 256
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._network = network
        self.start_seconds = start_seconds
        self.max_num_seqs = max_num_seqs
        self.in_flight: dict[str, float] = {}
        self.replicas: dict[str, FakeReplica] = {}
        self.ready: dict[str, str] = {}
        self._made = 0
        self._stopped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._servers: dict[str, asyncio.Server] = {}
        self._text = METRICS.read_text()

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeFleet]:
        """Run until the end of the block."""
        threads = [
            threading.Thread(target=work, daemon=True) for work in (self._loop.run_forever, self._make_pods_ready)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            threads[1].join(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            threads[0].join(10)

    def _make_pods_ready(self) -> None:
        seen: dict[str, float] = {}
        while not self._stopped.wait(POLL_SECONDS):
            with contextlib.suppress(Exception):  # the API server may be busy or gone; the next round looks again
                self._round(seen)

    def _round(self, seen: dict[str, float]) -> None:
        pods = {pod["metadata"]["name"]: pod for pod in self._kube.list("Pod", self._namespace)}
        for name in [name for name in self.replicas if name not in pods]:
            self._remove(name)
        for name, pod in pods.items():
            if pod["metadata"].get("deletionTimestamp"):
                self.ready.pop(name, None)
                continue
            began = seen.setdefault(pod["metadata"]["uid"], time.monotonic())
            if name not in self.replicas:
                self._add(name)
                self._report(pod, ready=False)
            if name not in self.ready and time.monotonic() - began >= self.start_seconds:
                self._serve(self.replicas[name])
                self._report(pod, ready=True)
                self.ready[name] = pod["metadata"]["labels"].get("app.kubernetes.io/instance", "")

    def _add(self, name: str) -> None:
        self._made += 1
        address = f"127.{self._network}.{self._made // 250}.{1 + self._made % 250}"
        self.replicas[name] = FakeReplica(address)

    def _remove(self, name: str) -> None:
        self.ready.pop(name, None)
        replica = self.replicas.pop(name)
        if (server := self._servers.pop(replica.address, None)) is not None:
            self._loop.call_soon_threadsafe(server.close)

    def _serve(self, replica: FakeReplica) -> None:
        async def listen() -> asyncio.Server:
            return await self._loop.create_server(lambda: _Connection(self, replica), replica.address, PORT)

        self._servers[replica.address] = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def _report(self, pod: Object, *, ready: bool) -> None:
        address = self.replicas[pod["metadata"]["name"]].address
        container = {"name": "vllm", "image": "x", "imageID": "x", "ready": ready, "restartCount": 0, "started": ready}
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                {"type": kind, "status": "True" if ready or kind == "PodScheduled" else "False"}
                for kind in ("PodScheduled", "ContainersReady", "Ready")
            ],
            "containerStatuses": [{**container, "state": {"running": {"startedAt": LONG_AGO}}}],
        }
        self._kube.patch("Pod", pod["metadata"]["name"], self._namespace, {"status": status}, status=True)

    def metrics(self, replica: FakeReplica) -> bytes:
        """Return the answer of a replica to `/metrics`."""
        if not replica.has_metrics:
            return b"process_open_fds 30.0\n"
        name = next((name for name, one in self.replicas.items() if one is replica), "")
        server = self.ready.get(name, "")
        peers = sum(one == server for one in self.ready.values())
        share = replica.own + self.in_flight.get(server, 0.0) / max(peers, 1)
        running = min(share, float(self.max_num_seqs))
        values = {
            "vllm:num_requests_running": running,
            "vllm:num_requests_waiting": share - running,
            "vllm:kv_cache_usage_perc": min(running / self.max_num_seqs, 1.0),
            "vllm:request_success_total": float(replica.finished),
        }
        text = self._text
        for family, value in values.items():
            text = re.sub(rf"^({family}\{{.*?\}}) \S+$", rf"\g<1> {value}", text, count=1, flags=re.MULTILINE)
        return text.encode()


class _Connection(asyncio.Protocol):
    """Answers the GETs and POSTs of the operator."""

    def __init__(self, fleet: FakeFleet, replica: FakeReplica) -> None:
        self._fleet = fleet
        self._replica = replica
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request whose head is complete; bodies fit into one packet."""
        self._read += data
        if b"\r\n\r\n" not in self._read:
            return
        path = self._read.split(b" ", 2)[1].decode()
        self._read = b""
        if self._replica.is_silent:
            return
        bodies: dict[str, Any] = {"/health": b"", "/v1/models": MODELS, "/version": b'{"version":"0.32.0"}'}
        if path == "/metrics":
            self._replica.asked.append(time.monotonic())
            body = self._fleet.metrics(self._replica)
        else:
            body = bodies.get(path, b"{}")
        # Prometheus takes no answer without its type.
        kind = METRICS_TYPE if path == "/metrics" else b"application/json"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
        self._transport.write(head + body)


def host_address() -> str:
    """Return an address of this machine that an EndpointSlice may hold; empty where there is only loopback."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return ""
        address = str(probe.getsockname()[0])
    return "" if address.startswith("127.") else address


def publish_metrics_api(kube: Kube, namespace: str, name: str, address: str, port: int) -> None:
    """Create the Service of the operator's metrics API for an operator that runs outside of the cluster."""
    labels = {"kubernetes.io/service-name": name}
    objects: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "metrics-api", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "metrics-api", "port": port}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]
    for body in objects:
        kube.apply(body, "--server-side", "--force-conflicts", namespace=namespace)


def wait_until_served(kube: Kube, within: float = 60.0) -> None:
    """Wait until the API server passes on requests for `custom.metrics.k8s.io`."""
    path = "/apis/custom.metrics.k8s.io/v1beta2"
    kube.eventually(lambda: kube.kubectl("get", "--raw", path, check=False).code == 0, within=within)


def offer_metrics_api(kube: Kube, namespace: str, name: str) -> list[str]:
    """Create the Service of the metrics API at an unused port of this machine; return the options of its operator.

    Args:
        kube: the cluster.
        namespace: the namespace of the operator, which exists.
        name: the name of the Service.
    """
    address, port = host_address(), free_port()
    publish_metrics_api(kube, namespace, name, address, port)
    return ["--metrics-api", "--metrics-api-listen", f"{address}:{port}", "--metrics-service", f"{namespace}/{name}"]
