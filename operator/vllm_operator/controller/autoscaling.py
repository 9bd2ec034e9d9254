"""Everything for autoscalers that lives until the process ends: the samples of the load, and the metrics API."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from vllm_operator.api.names import MANAGER
from vllm_operator.controller.fast_path import FastPath
from vllm_operator.controller.floor import with_floor
from vllm_operator.controller.held_requests import HeldRequests
from vllm_operator.controller.http_endpoints import parse_listen
from vllm_operator.controller.scaler import Scaler
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.desired.state import DesiredState
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.informers.store import Store
from vllm_operator.investigation.other_autoscalers import OtherAutoscalers, is_scaled_by_others, list_autoscalers
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
        others: finds autoscalers of other people.
        held: counts the requests that gateways hold for each server.
        fast_path: raises the fewest replicas of the servers that ask for it.

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
        self._probes = probes
        self._sampler = LoadSampler(lambda: probes.session)
        reader = LoadReader(store, self._sampler)
        client = ApiClient(connection, may_write)

        async def write_replicas(server: ServerSummary, replicas: int) -> None:
            patch = {"spec": {"replicas": replicas}}
            await client.merge_patch(SERVER, server.namespace, server.name, patch, MANAGER, "scale")

        self.scaler = Scaler(reader, write_replicas, may_write, lambda key: enqueue_all([key]))
        self.fast_path = FastPath(reader, self.scaler.scale_now, may_write, lambda key: enqueue_all([key]))
        self.held = HeldRequests(enqueue_all)
        list_objects = partial(list_autoscalers, client)
        self.others = OtherAutoscalers(list_objects, may_write, lambda key: enqueue_all([key]))
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

    def observe(self, key: Key, desired: DesiredState, snapshot: Snapshot) -> DesiredState:
        """Take in the present state of a server; return its desired state with a floor that is raised."""
        if desired.problems or desired.server.scaling is None or self._others(key, desired.server, snapshot):
            # One writer at a time: the operator scales nothing that something else scales.
            self.scaler.forget(key)
            self.fast_path.forget(key)
            return desired
        self.scaler.observe(key, desired.server, snapshot.server)
        self.fast_path.observe(key, desired.server, snapshot)
        return with_floor(desired, self.fast_path.floor(key))

    def _others(self, key: Key, server: ServerSummary, snapshot: Snapshot) -> tuple[str, ...]:
        """Return the autoscalers of other people that scale a server besides the operator."""
        if server.scaling is None:
            self.others.forget(key)
            return ()
        return self.others.of(key, is_suspected=is_scaled_by_others(server.scaling, snapshot))

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        self.others.forget(key)
        self.scaler.forget(key)
        self.fast_path.forget(key)

    def loads(self, key: Key) -> dict[str, float]:
        """Return pod name -> requests that run or wait in it, as last seen by the scaler or else by a probe.

        A probe may be older than the fall of the load for which the scaler removes replicas.
        """
        return {**self._probes.loads(key), **self.scaler.requests(key)}

    def metrics_api_state(self) -> MetricsApiState:
        """Return whether the metrics API is served."""
        return self._metrics_api.state if self._metrics_api is not None else NOT_SERVED

    def status_inputs(self, key: Key, server: ServerSummary) -> dict[str, Any]:
        """Return the status inputs about autoscaling."""
        return {
            "scaling": server.scaling,
            "bounds": server.bounds,
            "asleep": server.asleep,
            "held_requests": self.held.count(key),
            "metrics_api": self.metrics_api_state(),
            "scaling_problem": self.scaler.problem(key),
            "other_autoscalers": self.others.of(key) if server.scaling else (),
            "keda_failure": self.others.failure(key) if server.scaling and server.scaling.source == "keda" else "",
            "floor": self.fast_path.floor(key),
        }

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what runs until the process stops, by the name of its task."""
        tasks = {"scaler": self._scale(), "fast path": self.fast_path.run(), "other autoscalers": self.others.run()}
        return tasks if self._metrics_api is None else {**tasks, "metrics API": self._metrics_api.run()}

    async def _scale(self) -> None:
        try:
            await self.scaler.run()
        finally:
            await self._sampler.close()
