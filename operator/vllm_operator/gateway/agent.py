"""The agent: it watches the namespace, writes the files of Envoy, counts for it and holds requests.

Envoy needs none of this for a request whose key has no limit and whose server has a ready replica: while the agent or
the API server is down, it goes on with the last files.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from vllm_operator.api.gateway_resource import VLLMGateway, parse_gateway
from vllm_operator.api.names import gateway_child_name
from vllm_operator.errors import ApiError, InvalidSpecError
from vllm_operator.gateway.agent_endpoints import AgentEndpoints
from vllm_operator.gateway.envoy.build import build_files
from vllm_operator.gateway.envoy.names import PodLayout
from vllm_operator.gateway.holding import Holder, HoldLimits
from vllm_operator.gateway.limits.grpc_server import UnaryServer
from vllm_operator.gateway.limits.limiter import Limiter
from vllm_operator.gateway.limits.peers import PeerClients, PeerServer, peer_secret
from vllm_operator.gateway.limits.service import LimitService
from vllm_operator.gateway.object_cache import ObjectCache
from vllm_operator.gateway.observe import SERVICE_LABEL, Observation, observe, ready_endpoints, secrets_of
from vllm_operator.gateway.refusals import EnvoyRefusals
from vllm_operator.gateway.remote import remote_states
from vllm_operator.gateway.secret_reader import SecretReader
from vllm_operator.gateway.wake import WakeUps
from vllm_operator.gateway.xds_files import XdsFiles
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.kinds import ENDPOINT_SLICE, GATEWAY, SERVER

MERGE_SECONDS = 0.02
"""Seconds for which further changes are merged into one write."""
SECRETS_SECONDS = 5.0
"""Interval at which the Secrets are read again."""
REFUSALS_SECONDS = 5.0
"""Interval at which Envoy is asked whether it took the files."""
RETRY_SECONDS = 2.0
"""Seconds until a failed read is repeated."""
WAKE_SECONDS = 1.0
"""Interval at which servers with held requests are asked to start."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSettings:
    """The settings of the command line.

    Attributes:
        namespace: the namespace.
        name: name of the VLLMGateway.
        layout: where the containers of the pod find each other.
        address: address that the agent binds for its metrics and for other agents.
        pod_address: address of this pod; empty for a gateway that counts alone.
        metrics_port: port of /healthz and /metrics.
        peer_port: port on which other agents let this one count.
    """

    namespace: str
    name: str
    layout: PodLayout = field(default_factory=PodLayout)
    address: str = "0.0.0.0"
    pod_address: str = ""
    metrics_port: int = 8082
    peer_port: int = 8083


class Agent:
    """The agent of one pod of a gateway.

    Args:
        settings: the settings.
        connection: the connection to the API server; None to read the credentials of the pod or of a kubeconfig.
    """

    def __init__(self, settings: AgentSettings, connection: Connection | None = None) -> None:
        self._settings = settings
        self._availability = ApiServerAvailability()
        self._connection = connection or Connection(lambda *_: None, self._availability)
        client = ApiClient(self._connection)
        self._changed = asyncio.Event()
        kinds = (GATEWAY, SERVER, ENDPOINT_SLICE)
        self._cache = ObjectCache(client, settings.namespace, kinds, self._changed.set, self._availability)
        self._secrets = SecretReader(client, settings.namespace)
        self._wake_ups = WakeUps(client, settings.namespace)
        self._files = XdsFiles(Path(settings.layout.xds))
        self._limiter = Limiter()
        self._secret = [b""]
        own = _join(settings.pod_address or "127.0.0.1", settings.peer_port)
        self._peers = PeerClients(own, lambda: self._secret[-1])
        self._service = LimitService(self._limiter, self._peers)
        self._peer_server = PeerServer(self._service.decide, lambda: self._secret)
        self._limits_server = UnaryServer(Path(settings.layout.limits_socket), self._service.handle)
        self._held = asyncio.Event()
        layout = settings.layout
        self.holder = Holder(Path(layout.hold_socket), layout.resume_socket, lambda _: self._held.set())
        self._endpoints = AgentEndpoints(self.holder)
        self._refusals = EnvoyRefusals(layout.admin_socket)

    async def run(self) -> None:
        """Run until cancelled."""
        await self._start()
        try:
            async with asyncio.TaskGroup() as group:
                works = (self._watch(), self._write(), self._read_secrets(), self._wake(), self._watch_refusals())
                for work in works:
                    group.create_task(work)
        finally:
            await self._stop()

    async def _start(self) -> None:
        await self.holder.start()
        await self._limits_server.start()
        await self._peer_server.start(self._settings.address, self._settings.peer_port)
        await self._endpoints.start(self._settings.address, self._settings.metrics_port)

    async def _stop(self) -> None:
        await self._endpoints.stop()
        await self._peer_server.stop()
        self._peers.close()
        await self._limits_server.stop()
        await self.holder.stop()
        await self._connection.close()

    async def _watch(self) -> None:
        """Fill the cache, read the Secrets once, and watch. Before that no file is written."""
        while True:
            try:
                await self._cache.fill()
                await self._refresh_secrets()
                break
            except ApiError as error:
                logger.warning("waiting for the API server: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        self._endpoints.filled = True
        self._changed.set()
        await self._cache.run()

    async def _write(self) -> None:
        """Write the files after each change."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(MERGE_SECONDS)
            self._changed.clear()
            if not self._endpoints.filled:
                continue
            try:
                if await self._refresh_missing_secrets():
                    self._changed.clear()
                self._publish()
            except ApiError as error:
                logger.warning("a Secret could not be read: %s", error)
            except Exception:
                logger.exception("the files of Envoy could not be written")

    def _publish(self) -> None:
        """Bring files, limits and holding to the state of the namespace."""
        gateway = self._gateway()
        if gateway is None:
            return
        observation = self._observe(gateway)
        spec = gateway.spec
        # The agents of a gateway take new keys at slightly different times.
        secret = peer_secret(gateway.uid, (key.digest for key in observation.snapshot.keys))
        if secret != self._secret[-1]:
            self._secret = [self._secret[-1], secret]
        self._peers.set_agents(self._agents(gateway.name))
        self._limiter.configure(spec.limits)
        holding = spec.holding
        self.holder.limits = HoldLimits(holding.timeout_seconds, holding.max_requests, holding.max_bytes)
        files = build_files(self._settings.layout, observation.snapshot)
        self._endpoints.written += len(self._files.write(files))
        ready = {name: bool(body["endpoints"][0]["lb_endpoints"]) for name, body in files.endpoints.items()}
        self.holder.set_endpoints(ready)

    def _gateway(self) -> VLLMGateway | None:
        """Return the gateway; None while it does not exist or is invalid, which leaves the files as they are."""
        body = self._cache.get(GATEWAY, self._settings.name)
        if body is None:
            return None
        try:
            return parse_gateway(body)
        except InvalidSpecError as error:
            logger.warning("the gateway goes on with its former spec: %s", error)
            return None

    def _observe(self, gateway: VLLMGateway) -> Observation:
        servers, slices = self._cache.objects(SERVER), self._cache.objects(ENDPOINT_SLICE)
        secrets = self._secrets.values
        remote = remote_states(gateway.spec.servers.references, gateway.status, secrets)
        return observe(gateway, servers, slices, secrets, remote)

    def _agents(self, gateway: str) -> list[str]:
        """Return the addresses of all agents of the gateway."""
        service = gateway_child_name(gateway)
        slices = [
            one
            for one in self._cache.objects(ENDPOINT_SLICE)
            if get_str(one, "metadata", "labels", SERVICE_LABEL) == service
        ]
        return [_join(endpoint.address, self._settings.peer_port) for endpoint in ready_endpoints(slices)]

    def _wanted_secrets(self) -> tuple[str, ...]:
        gateway = self._gateway()
        return secrets_of(gateway, self._cache.objects(SERVER)) if gateway else ()

    async def _refresh_missing_secrets(self) -> bool:
        """Read the Secrets where a new one is wanted."""
        wanted = self._wanted_secrets()
        return set(wanted) != set(self._secrets.values) and await self._secrets.refresh(wanted)

    async def _refresh_secrets(self) -> None:
        if await self._secrets.refresh(self._wanted_secrets()):
            self._changed.set()

    async def _read_secrets(self) -> None:
        while True:
            await asyncio.sleep(SECRETS_SECONDS)
            try:
                await self._refresh_secrets()
            except ApiError as error:
                logger.warning("the Secrets could not be read, the keys stay: %s", error)

    async def _watch_refusals(self) -> None:
        """Read whether Envoy took the files; the operator reads it from here."""
        while True:
            await asyncio.sleep(REFUSALS_SECONDS)
            try:
                changed = await self._refusals.refresh()
            except (aiohttp.ClientError, OSError, TimeoutError):
                continue
            self._endpoints.refused = refused = self._refusals.refused
            if changed and refused:
                logger.warning("Envoy refuses the new %s and keeps the former: see its log", ", ".join(refused))

    async def _wake(self) -> None:
        while True:
            await self._held.wait()
            self._held.clear()
            while held := self.holder.held:
                # The operator wakes those of other namespaces, where the agent has no rights.
                await self._wake_ups.renew({name: count for name, count in held.items() if "/" not in name})
                await asyncio.sleep(WAKE_SECONDS)


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
