"""A gateway on loopback: the real Envoy, and the agent's own services in this process."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.bootstrap import bootstrap
from vllm_operator.gateway.envoy.build import build_files
from vllm_operator.gateway.envoy.names import PodLayout
from vllm_operator.gateway.holding import Holder, HoldLimits
from vllm_operator.gateway.limits.grpc_server import UnaryServer
from vllm_operator.gateway.limits.limiter import Limiter
from vllm_operator.gateway.limits.peers import PeerClients
from vllm_operator.gateway.limits.service import LimitService, NoPeers
from vllm_operator.gateway.snapshot import GatewayServer, GatewaySnapshot, KeyEntry, ReplicaEndpoint
from vllm_operator.gateway.xds_files import XdsFiles, prepare_folder

START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def envoy_binary() -> str:
    return str(Path(sys.executable).with_name("envoy"))


def key_entry(identity: str, secret: str, *models: str, expires: int | None = None) -> KeyEntry:
    return KeyEntry(identity, sha256(secret.encode()).hexdigest(), models, expires)


def server_state(name: str, *replicas: FakeVLLMServer, served: tuple[str, ...] = (), **fields: Any) -> GatewayServer:
    endpoints = tuple(ReplicaEndpoint("127.0.0.1", int(replica.url.rpartition(":")[2])) for replica in replicas)
    return GatewayServer(name, served or (name,), endpoints, **fields)


class GatewayProcess:
    """Envoy with its files, and the limiter and the holder of the agent.

    Attributes:
        held_servers: names of the servers for which a request was held.
        limiter: the counters.
        log: what Envoy wrote.
    """

    def __init__(self, spec: dict[str, Any] | None = None, peers: PeerClients | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-"))
        self.layout = PodLayout(
            address="127.0.0.1",
            port=free_port(),
            health_port=free_port(),
            xds=str(self.folder / "xds"),
            run=str(self.folder),
            tls=str(self.folder / "tls"),
        )
        self.snapshot = GatewaySnapshot("gateway", 1, GatewaySpec.model_validate(spec or {}))
        self.held_servers: list[str] = []
        self.limiter = Limiter()
        self.service = LimitService(self.limiter, peers or NoPeers())
        self.holder = Holder(Path(self.layout.hold_socket), self.layout.resume_socket, self.held_servers.append)
        self.files = XdsFiles(Path(self.layout.xds))
        self._limits = UnaryServer(Path(self.layout.limits_socket), self.service.handle)
        self._envoy: subprocess.Popen[bytes] | None = None
        self.scheme = "https" if self.snapshot.spec.tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.layout.port}"

    @property
    def log(self) -> str:
        return (self.folder / "envoy.log").read_text()

    @property
    def audit_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def set(self, *servers: GatewayServer, keys: tuple[KeyEntry, ...] | None = None, **spec: Any) -> list[str]:
        """Change servers, keys or fields of the spec; return the files that were written."""
        changes: dict[str, Any] = {"servers": tuple(sorted(servers, key=lambda server: server.name))} if servers else {}
        if keys is not None:
            changes["keys"] = keys
        if spec:
            fields = self.snapshot.spec.model_dump(by_alias=True, exclude_unset=True)
            changes["spec"] = GatewaySpec.model_validate({**fields, **spec})
        self.snapshot = replace(self.snapshot, **changes)
        return self.publish()

    def publish(self) -> list[str]:
        spec = self.snapshot.spec
        self.limiter.configure(spec.limits)
        holding = spec.holding
        self.holder.limits = HoldLimits(holding.timeout_seconds, holding.max_requests, holding.max_bytes)
        files = build_files(self.layout, self.snapshot)
        written = self.files.write(files)
        ready = {name: bool(body["endpoints"][0]["lb_endpoints"]) for name, body in files.endpoints.items()}
        self.holder.set_endpoints(ready)
        return written

    async def __aenter__(self) -> Self:
        # Envoy starts with empty files, and the agent writes them afterwards, as in a pod.
        prepare_folder(Path(self.layout.xds))
        start = self.folder / "bootstrap.json"
        start.write_text(json.dumps(bootstrap(self.layout, "gateway")))
        command = [envoy_binary(), "-c", str(start), "--concurrency", "2", "-l", "warning", "--disable-hot-restart"]
        command += ["--file-flush-interval-msec", "100", "--drain-time-s", "5"]
        with (self.folder / "envoy.log").open("wb") as log:
            self._envoy = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: ASYNC220
        try:
            await self.start_agent()
            self.publish()
            await self.until_ready()
        except BaseException:
            print(self.log)
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._envoy is not None:
            self._envoy.terminate()
            await asyncio.to_thread(self._envoy.wait)
        await self._limits.stop()
        await self.holder.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start_agent(self) -> None:
        """Start the services of the agent."""
        await self.holder.start()
        await self._limits.start()

    async def stop_agent(self) -> None:
        """End the services of the agent, as when its container is killed."""
        await self._limits.stop()
        await self.holder.stop()

    async def until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        async with aiohttp.ClientSession() as session:
            while True:
                assert self._envoy is not None
                assert self._envoy.poll() is None, self.log
                try:
                    async with session.get(f"http://127.0.0.1:{self.layout.health_port}/ready") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert time.monotonic() < deadline, self.log
                await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self._envoy is not None
        return self._envoy.pid

    async def admin(self, path: str, method: str = "GET") -> str:
        connector = aiohttp.UnixConnector(self.layout.admin_socket)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://localhost{path}") as response,
        ):
            return await response.text()

    async def until_applied(self, what: str, seconds: float = 5.0) -> None:
        """Wait until the files count for requests: Envoy reads them within some milliseconds."""
        await asyncio.sleep(0.3)
