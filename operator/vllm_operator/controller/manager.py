"""What lives as long as the process: connection, caches, queue, prober and the tasks around them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

import aiohttp

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.apply.applier import Applier
from vllm_operator.controller.http_endpoints import HttpEndpoints
from vllm_operator.controller.liveness import trouble
from vllm_operator.controller.metrics import GaugeValues, Metrics
from vllm_operator.controller.reconciler import Reconciler, ReconcilerDependencies
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import MERGE_SECONDS, WorkQueue
from vllm_operator.errors import ApiError, VLLMOperatorError
from vllm_operator.informers.discovery import OptionalKinds
from vllm_operator.informers.entry import key_of
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.reflector import Reflector
from vllm_operator.informers.relister import Relister
from vllm_operator.informers.store import Store
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner, answer
from vllm_operator.kopf_adapter.watch_middleware import WatchMiddleware
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import OPTIONAL_KINDS, REFLECTOR_KINDS, SERVER, Kind
from vllm_operator.kube.leader_election import LeaderElector
from vllm_operator.kube.pod_logs import read_log_tail
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.settings import Settings

LEASE_NAME = "vllm-operator"

NO_CRD = (
    "the CustomResourceDefinition vllmservers.vllm-operator.dev is not installed, so there is nothing to do: apply "
    "crds/vllmserver.yaml, or the output of `vllm-operator crd`; servers are picked up when it appears"
)

logger = logging.getLogger(__name__)


class Manager:
    """The running operator, apart from kopf. Created inside the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._recovery = ApiServerAvailability(self._on_recovery)
        self.connection = Connection(self.metrics.count_api_request, self._recovery)
        self._client = ApiClient(self.connection, self._may_write)
        self._lease = self._own_lease()
        self._store = Store()
        self.scope = ServedNamespaces(self._client, settings.namespaces)
        self._capabilities = OptionalKinds(self._client)
        self._prober = ProbeManager(
            on_change=self._wake, on_probe=self.metrics.count_probe, on_completion=self.metrics.count_completion
        )
        self._diagnoses = ContainerLogReader(partial(read_log_tail, self._client), self._wake)
        self._lookups = LookupRunner(partial(answer, self._client), self._wake, time.monotonic)
        self._events = EventRecorder(self._client, time.monotonic)
        self._relist = Relister(self._client, self._store, self.scope)
        self._watches = WatchMiddleware(
            settings.namespaces or (None,),
            listed=self._relist.heard,
            is_known=self._store.has_version,
            wait=self._recovery.sleep_unless_recovered,
            refused=self.connection.renew,
            broke=self.connection.on_failed_call,
        )
        self._reflectors: dict[str, Reflector] = {}
        self._reconciler = Reconciler(
            ReconcilerDependencies(
                client=self._client,
                store=self._store,
                children=Applier(self._client, self._store, time.monotonic),
                references=ReferenceResolver(self._client, time.monotonic),
                capabilities=self._capabilities,
                prober=self._prober,
                diagnoses=self._diagnoses,
                events=self._events,
                lookups=self._lookups,
                on_heal=self.metrics.count_stalled_restart,
            ),
            runbooks=settings.runbooks,
        )
        self._queue: WorkQueue[Key] = WorkQueue(
            self._reconcile, settings.workers, self.metrics.count_queue_wait, self._store.lacks_status
        )
        self.metrics.register_gauges(self._gauge_values)
        self._endpoints = HttpEndpoints(settings.listen, self.metrics, self._trouble)
        self._tasks: list[asyncio.Task[None]] = []
        self.failed = asyncio.Event()
        """Set when a task has ended by itself: the process is then to be replaced."""

    async def listen(self) -> None:
        """Open the endpoints, before anything else: an address that is taken must end the process, with a message.

        Raises:
            ListenError: the address is taken or wrong.
        """
        await self._endpoints.start()

    async def start(self) -> None:
        """Fill the caches, then start to work: a pass on half-filled caches would write what is there already."""
        for namespace in self.scope.lists:
            self._reflectors |= {kind.path(namespace): self._reflector(kind, namespace) for kind in REFLECTOR_KINDS}
        await self._fill_caches()
        if self._lease is not None:
            self._spawn("lease", self._lease.run())
        self._spawn("queue", self._run_queue())
        self._spawn("prober", self._prober.run())
        self._spawn("diagnoses", self._diagnoses.run())
        self._spawn("lookups", self._lookups.run())
        self._spawn("events", self._events.run())
        self._spawn("capabilities", self._watch_capabilities())
        self._spawn("relist", self._relist.run(self._wake_all))
        for path, reflector in self._reflectors.items():
            self._spawn(f"watch on {path}", reflector.run())
        if self.scope.closed:
            self._spawn("await role", self.scope.await_role())
        self._wake_all(self._store.servers())
        self._endpoints.ready = True
        logger.info("ready: %d servers", len(self._store.servers()))

    async def stop(self) -> None:
        """End all tasks, give the lease back, and close the connections."""
        self._endpoints.ready = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._events.finish()
        if self._lease is not None:
            await self._lease.release()
        await self._endpoints.stop()
        await self.connection.close()

    def session_for_kopf(self) -> aiohttp.ClientSession:
        """A session for kopf, which asks again when the last was closed because the credentials were renewed."""
        return self.connection.new_session(self._watches)

    def saw(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        """Take over one watch event and wake the server that it concerns, or the two when a label was edited."""
        self.metrics.count_watch_event(kind.name)
        metadata = body["metadata"]
        former = self._store.key(kind.name, metadata.get("namespace", ""), metadata["name"])
        key = key_of(kind.name, body)
        if not self._store.process_watch_event(kind.name, event, body):
            return
        for concerned in {one for one in (former, key) if one}:
            self._wake_for(kind, concerned)

    def _wake_for(self, kind: Kind, key: Key) -> None:
        if kind is not SERVER and self._reconciler.settles(key):
            self._queue.add_after(key, MERGE_SECONDS)
        else:
            self._queue.add(key)

    def _trouble(self) -> str:
        return trouble(task_ended=self.failed.is_set(), longest_pass=self._queue.longest_reconcile)

    def _own_lease(self) -> LeaderElector | None:
        namespace = self.settings.lease_namespace
        if namespace is None:
            return None
        identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        return LeaderElector(ApiClient(self.connection), namespace, LEASE_NAME, identity, time.monotonic)

    def _reflector(self, kind: Kind, namespace: str | None) -> Reflector:
        return Reflector(
            kind,
            self._client,
            kind.path(namespace),
            MANAGED_SELECTOR,
            partial(self._list_again, kind, namespace),
            partial(self.saw, kind),
            self._recovery.sleep_unless_recovered,
            lambda: not kind.optional or kind.name in self._capabilities.installed,
            partial(self._store.has_version, kind),
        )

    async def _list_again(self, kind: Kind, namespace: str | None) -> str:
        """List a kind into the caches, wake what changed, and return the version from which to watch."""
        self._wake_all(sorted(await self._relist.within(namespace, kind)))
        return self._relist.versions[kind.name, namespace]

    def _may_write(self) -> bool:
        return self._lease is None or self._lease.is_held()

    async def _run_queue(self) -> None:
        """Work as soon as this is the leader; a standby fills its caches and its queue meanwhile."""
        if self._lease is not None:
            await self._lease.acquired.wait()
        await self._queue.run()

    async def _fill_caches(self) -> None:
        pause = 0.5
        while True:
            try:
                if await self._fill_once():
                    return
            except ApiError as error:
                logger.warning("waiting for the API server: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _fill_once(self) -> bool:
        """False where the CRD is missing and cannot be watched for: kopf must not start before it."""
        await self._capabilities.refresh()
        if await self._client.get_path(f"/apis/{SERVER.api_version}") is None:
            logger.warning("%s", NO_CRD)
            if not self.scope.is_cluster:
                return False
        await self._relist.once(SERVER)
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
            logger.exception("%s: the pass failed", key)
            raise
        finally:
            self.metrics.count_reconcile(outcome, time.perf_counter() - started)

    def _gauge_values(self) -> GaugeValues:
        return GaugeValues(
            leader=self._may_write(),
            queue_depth=self._queue.depth,
            queue_age=self._queue.longest_wait,
            running=self._queue.running,
            failing=self._queue.failing,
            replicas=self._prober.replicas,
            phases=self._store.phases(),
            cached=self._store.counts(),
        )

    async def _watch_capabilities(self) -> None:
        while True:
            await asyncio.sleep(self._capabilities.pause)
            try:
                if await self._capabilities.refresh():
                    for kind in OPTIONAL_KINDS:
                        if kind.name not in self._capabilities.installed:
                            self._store.drop(kind.name)
                    logger.info("optional kinds now: %s", ", ".join(sorted(self._capabilities.installed)) or "none")
                    self._wake_all(self._store.servers())
            except ApiError as error:
                logger.warning("optional CRDs could not be looked up: %s", error)

    def _on_recovery(self) -> None:
        """The API server is back: what failed meanwhile need not wait for its turn."""
        logger.info("the API server answers again")
        self._reconciler.retry_failed_writes()
        self._queue.reset_backoff()

    def _wake(self, key: Key) -> None:
        self._queue.add(key)

    def _wake_all(self, keys: list[Key]) -> None:
        for key in keys:
            self._queue.add(key)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        logger.error("the task %s ended", task.get_name(), exc_info=task.exception())
        self.failed.set()
