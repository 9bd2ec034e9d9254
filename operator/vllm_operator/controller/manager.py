"""Own all objects that exist until the process ends: connection, caches, work queue, probes, background tasks."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from vllm_operator.apply.applier import Applier
from vllm_operator.controller.autoscaling import AutoscalingParts
from vllm_operator.controller.deletion_costs import DeletionCosts
from vllm_operator.controller.gateways import GatewayController
from vllm_operator.controller.http_endpoints import HttpEndpoints
from vllm_operator.controller.liveness import liveness_failure
from vllm_operator.controller.metrics import GaugeValues, Metrics
from vllm_operator.controller.reconciler import Reconciler
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.server_metrics import status_observer
from vllm_operator.controller.server_state import ServerStates
from vllm_operator.controller.status_writer import StatusWriter
from vllm_operator.controller.tenant_rules import TenantRules
from vllm_operator.controller.workqueue import WorkQueue, merge_delay
from vllm_operator.errors import ApiError, VLLMOperatorError
from vllm_operator.informers.discovery import NO_CRD, OptionalKinds
from vllm_operator.informers.entry import key_of
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.reflector import Reflector
from vllm_operator.informers.relister import Relister
from vllm_operator.informers.store import Store
from vllm_operator.informers.watch_source import RelistPolicy, WatchSource
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner, run_lookup
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import OPTIONAL_KINDS, POD, SERVER, WATCHED_KINDS, Kind
from vllm_operator.kube.leader_election import LeaderElector
from vllm_operator.kube.pod_logs import read_log_tail
from vllm_operator.kube.request_metrics import rbac_verb_and_resource
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.remediation.remediator import Remediator
from vllm_operator.settings import LEASE_NAME, Settings
from vllm_operator.telemetry.spans import Spans

UNREACHABLE_SECONDS = 1.0
"""Longest delay until the servers are watched again while the API server is unreachable."""

logger = logging.getLogger(__name__)


class Manager:
    """The running operator, apart from kopf. Create it inside the event loop.

    Attributes:
        connection: the connections to the API server.
        namespaces: the namespaces that are served.
        failed: whether a background task has ended by itself, so that a new process must replace this one.
        stop_flag: set when the manager has failed, so that kopf stops, and when it has stopped.
    """

    def __init__(self, settings: Settings, spans: Spans | None = None) -> None:
        self._metrics = Metrics()
        self._availability = ApiServerAvailability(self._on_recovery)
        observers = (spans.middleware(rbac_verb_and_resource),) if spans else ()
        self.connection = Connection(self._metrics.count_api_request, self._availability, observers)
        self._client = ApiClient(self.connection, self._may_write)
        self._elector = self._leader_elector(settings.lease_namespace)
        self._store = Store()
        self.namespaces = ServedNamespaces(self._client, settings.namespaces)
        self._optional_kinds = OptionalKinds(self._client)
        self._relister = Relister(self._client, self._store, self.namespaces)
        self._reflectors: dict[str, Reflector] = {}
        """The reflectors by the URL path of their collection."""
        self._probes = ProbeManager(
            on_change=self._enqueue_merged,
            on_probe=self._metrics.count_probe,
            on_completion=self._metrics.count_completion,
            may_send_key=self._knows_pods,
        )
        self._autoscaling = AutoscalingParts(
            settings, self.connection, self._store, self._probes, self._may_write, self.enqueue_all
        )
        self._log_reader = ContainerLogReader(partial(read_log_tail, self._client), self._enqueue_merged)
        self._lookups = LookupRunner(partial(run_lookup, self._client), self._enqueue_merged, time.monotonic)
        self._events = EventRecorder(self._client, time.monotonic)
        forgetful = (self._log_reader, self._lookups, self._events, self._probes, self._autoscaling)
        applier = Applier(self._client, self._store, time.monotonic)
        self._servers = ServerStates(applier.new_history, time.monotonic, [owner.forget for owner in forgetful])
        self._reconciler = Reconciler(
            store=self._store,
            servers=self._servers,
            optional_kinds=self._optional_kinds,
            references=ReferenceResolver(
                self._client, time.monotonic, TenantRules(settings.restricted_pod_template, settings.labelled_secrets)
            ),
            applier=applier,
            deletion_costs=DeletionCosts(self._client, self._store),
            probes=self._probes,
            log_reader=self._log_reader,
            lookups=self._lookups,
            remediator=Remediator(
                self._client, self._store, self._probes, self._events, self._metrics.count_stalled_restart
            ),
            status_writer=StatusWriter(
                self._client,
                self._store,
                self._events,
                on_status=status_observer(settings.server_metrics, self._store.uid, self._metrics.register),
            ),
            runbooks=settings.runbooks,
            may_restart=settings.restart_stalled,
            autoscaling=self._autoscaling,
        )
        self._queue: WorkQueue[Key] = WorkQueue(
            spans.of_reconcile(self._reconcile) if spans else self._reconcile,
            settings.workers,
            self._metrics.count_queue_wait,
            self._store.lacks_status,
        )
        self._metrics.register_gauges(self._gauge_values)
        self._gateways = GatewayController(
            settings, self._client, self._store, self._autoscaling.held, self.namespaces, self._availability
        )
        self._endpoints = HttpEndpoints(settings.listen, self._metrics, self._liveness_failure)
        self._tasks: list[asyncio.Task[None]] = []
        self.failed, self.stop_flag = False, asyncio.Event()

    async def listen(self) -> None:
        """Open the HTTP endpoints first, so that an address that is taken ends the process with a message.

        Raises:
            ListenError: the address is taken or invalid.
        """
        await self._endpoints.start()

    async def start(self) -> None:
        """Fill the caches, then start the background tasks.

        A reconcile with half-filled caches would write objects that exist already.
        """
        for namespace in self.namespaces.lists:
            self._reflectors |= {kind.path(namespace): self._reflector(kind, namespace) for kind in WATCHED_KINDS}
        await self._fill_caches()
        for name, work in self._background_tasks().items():
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._on_task_end)
            self._tasks.append(task)
        self.enqueue_all(self._store.servers())
        self._endpoints.ready = True
        logger.info("ready: %d servers", len(self._store.servers()))

    async def stop(self) -> None:
        """End the background tasks, release the Lease, and close the connections."""
        self._endpoints.ready = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._events.flush()
        if self._elector is not None:
            await self._elector.release()
        await self._endpoints.stop()
        await self.connection.close()
        self.stop_flag.set()

    def on_watch_event(self, kind: Kind, event_type: str, body: Mapping[str, Any]) -> None:
        """Store the object of a watch event, and enqueue its server; both servers where its label has changed."""
        self._metrics.count_watch_event(kind.name)
        metadata = body["metadata"]
        former = self._store.key(kind.name, metadata.get("namespace", ""), metadata["name"])
        if not self._store.process_watch_event(kind.name, event_type, body):
            return
        self._gateways.on_watch_event(kind.name, body)
        for key in {key for key in (former, key_of(kind.name, body)) if key}:
            # A spec, and a child that somebody deletes, must not wait for the pods.
            if kind is SERVER or (event_type == "DELETED" and kind is not POD):
                self.enqueue(key)
            else:
                self._enqueue_merged(key, is_settling=self._servers.is_settling(key))

    def enqueue(self, key: Key) -> None:
        """Reconcile a server soon."""
        self._queue.add(key)

    def _enqueue_merged(self, key: Key, *, is_settling: bool = False) -> None:
        """Reconcile a server soon; one with many pods so late that their next changes are merged into it."""
        if delay := merge_delay(self._store.pod_count(key), is_settling):
            self._queue.add_after(key, delay)
        else:
            self.enqueue(key)

    def enqueue_all(self, keys: Iterable[Key]) -> None:
        """Reconcile these servers soon."""
        for key in keys:
            self.enqueue(key)

    def _background_tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what runs until the process stops, by the name of its task."""
        tasks = {
            "work queue": self._run_queue(),
            "probes": self._probes.run(),
            "log reader": self._log_reader.run(),
            "lookups": self._lookups.run(),
            "events": self._events.run(),
            "discovery": self._discover_optional_kinds(),
            "relister": self._relister.run(self.enqueue_all),
            **self._autoscaling.tasks(),
            **{f"reflector of {path}": reflector.run() for path, reflector in self._reflectors.items()},
        }
        tasks |= self._gateways.tasks(self._elector.acquired if self._elector else None)
        if self._elector is not None:
            tasks["leader election"] = self._elector.run()
        if self.namespaces.unreadable:
            tasks["new role"] = self.namespaces.wait_for_new_role()
        return tasks

    def _reflector(self, kind: Kind, namespace: str | None) -> Reflector:
        source = WatchSource(
            kind,
            kind.path(namespace),
            partial(self._relist, kind, namespace),
            lambda: not kind.optional or kind.name in self._optional_kinds.installed,
        )
        longest = {"longest_unreachable_seconds": UNREACHABLE_SECONDS} if kind is SERVER else {}
        retry = RelistPolicy(self._availability.sleep_unless_recovered, **longest)
        on_watch_event, has_version = partial(self.on_watch_event, kind), partial(self._store.has_version, kind)
        return Reflector(self._client, source, on_watch_event, has_version, retry)

    async def _relist(self, kind: Kind, namespace: str | None) -> str:
        """List a kind into the caches, enqueue the servers concerned, and return the version to watch from."""
        result = await self._relister.relist_namespace(kind, namespace)
        self.enqueue_all(sorted(result.touched))
        return result.version

    def _knows_pods(self, key: Key) -> bool:
        """Return whether the cache of the server's pods is fresh: else an address may belong to another pod by now."""
        paths = (POD.path(key.namespace), POD.path(None))
        return any(path in self._reflectors and self._reflectors[path].is_fresh for path in paths)

    def _leader_elector(self, namespace: str | None) -> LeaderElector | None:
        if namespace is None:
            return None
        identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        return LeaderElector(ApiClient(self.connection), namespace, LEASE_NAME, identity, time.monotonic)

    def _may_write(self) -> bool:
        return self._elector is None or self._elector.is_held()

    def _liveness_failure(self) -> str:
        return liveness_failure(task_ended=self.failed, longest_reconcile=self._queue.longest_reconcile)

    async def _run_queue(self) -> None:
        """Reconcile while this process leads; a standby only fills its caches and its queue."""
        if self._elector is not None:
            await self._elector.acquired.wait()
        await self._queue.run()

    async def _fill_caches(self) -> None:
        delay = 0.5
        while True:
            try:
                if await self._try_to_fill_caches():
                    return
            except ApiError as error:
                logger.warning("waiting for the API server: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _try_to_fill_caches(self) -> bool:
        """List every kind; return False where an administrator has to install the CRD first.

        With cluster-wide rights the operator is ready without its CRD, a namespaced one only when it is installed.
        """
        await self._optional_kinds.refresh()
        if await self._client.get_path(f"/apis/{SERVER.api_version}") is None:
            logger.warning("%s", NO_CRD)
            if not self.namespaces.is_cluster:
                return False
        for reflector in self._reflectors.values():
            await reflector.fill()
        return True

    async def _reconcile(self, key: Key) -> Requeue:
        started, outcome = time.perf_counter(), "success"
        try:
            return await self._reconciler.reconcile(key)
        except VLLMOperatorError as error:
            outcome = "error"
            logger.warning("%s: will try again: %s", key, error)
            raise
        except Exception:
            outcome = "defect"
            logger.exception("%s: the reconcile failed", key)
            raise
        finally:
            self._metrics.count_reconcile(outcome, time.perf_counter() - started)

    def _gauge_values(self) -> GaugeValues:
        return GaugeValues(
            leader=self._may_write(),
            queue_depth=self._queue.depth,
            queue_age=self._queue.longest_wait,
            running=self._queue.running,
            failing=self._queue.failing,
            replicas=self._probes.replicas,
            phases=self._store.phases(),
            cached=self._store.counts(),
        )

    async def _discover_optional_kinds(self) -> None:
        while True:
            await asyncio.sleep(self._optional_kinds.delay)
            try:
                if await self._optional_kinds.refresh():
                    self._on_optional_kinds()
            except ApiError as error:
                logger.warning("optional CRDs could not be looked up: %s", error)

    def _on_optional_kinds(self) -> None:
        """Forget the objects of optional kinds that are gone, and reconcile every server."""
        for kind in OPTIONAL_KINDS:
            if kind.name not in self._optional_kinds.installed:
                self._store.drop(kind.name)
        logger.info("optional kinds now: %s", ", ".join(sorted(self._optional_kinds.installed)) or "none")
        self.enqueue_all(self._store.servers())

    def _on_recovery(self) -> None:
        """Retry at once what failed while the API server was away."""
        logger.info("the API server answers again")
        self._servers.retry_failed_writes()
        self._queue.reset_backoff()

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        logger.error("the task %s ended", task.get_name(), exc_info=task.exception())
        self.failed = True
        self.stop_flag.set()
