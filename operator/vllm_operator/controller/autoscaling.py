"""Everything for autoscalers that lives until the process ends: the samples of the load, and the metrics API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from vllm_operator.api.names import MANAGER
from vllm_operator.controller.http_endpoints import parse_listen
from vllm_operator.controller.scaler import Scaler
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import SERVER
from vllm_operator.metrics_api.readings import LoadReader
from vllm_operator.metrics_api.registration import MetricsService
from vllm_operator.metrics_api.service import MetricsApi, MetricsApiOptions
from vllm_operator.probing.load_sampler import LoadSampler
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.settings import Settings
from vllm_operator.status.metrics_api_state import NOT_SERVED, MetricsApiState


class AutoscalingParts:
    """The parts of the operator that autoscalers need.

    Args:
        settings: the settings of the process.
        connection: the connections to the API server.
        store: the caches.
        probes: the prober, whose connections to the replicas are used.
        may_write: returns whether this process leads.
        enqueue_all: called with the keys of the servers whose status may change; must not block.

    Attributes:
        scaler: scales the servers that the operator itself scales.

    Raises:
        ListenError: the address of the metrics API is invalid.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        store: Store,
        probes: ProbeManager,
        may_write: Callable[[], bool],
        enqueue_all: Callable[[Iterable[Key]], None],
    ) -> None:
        self._sampler = LoadSampler(lambda: probes.session)
        reader = LoadReader(store, self._sampler)
        client = ApiClient(connection, may_write)

        async def write_replicas(server: ServerSummary, replicas: int) -> None:
            patch = {"spec": {"replicas": replicas}}
            await client.merge_patch(SERVER, server.namespace, server.name, patch, MANAGER, "scale")

        self.scaler = Scaler(reader, write_replicas, may_write, lambda key: enqueue_all([key]))
        self._metrics_api: MetricsApi | None = None
        if settings.metrics_api is not None:
            host, port = parse_listen(settings.metrics_api, "--metrics-api-listen")
            self._metrics_api = MetricsApi(
                client,
                # An access review is a create that writes nothing, and every replica of the operator needs them.
                ApiClient(connection),
                reader,
                MetricsApiOptions(host, port, MetricsService(*settings.metrics_service)),
                may_write,
                lambda: enqueue_all(store.servers()),
            )

    def metrics_api_state(self) -> MetricsApiState:
        """Return whether the metrics API is served."""
        return self._metrics_api.state if self._metrics_api is not None else NOT_SERVED

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what runs until the process stops, by the name of its task."""
        tasks = {"scaler": self._scale()}
        return tasks if self._metrics_api is None else {**tasks, "metrics API": self._metrics_api.run()}

    async def _scale(self) -> None:
        try:
            await self.scaler.run()
        finally:
            await self._sampler.close()
