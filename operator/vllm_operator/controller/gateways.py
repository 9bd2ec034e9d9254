"""Watch and reconcile VLLMGateways, with a work queue of their own: a gateway never takes a worker of a server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from vllm_operator.api.names import GATEWAY_KIND, LABEL_COMPONENT, LABEL_INSTANCE, child_name, gateway_child_name
from vllm_operator.controller.held_requests import HeldRequests
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.workqueue import MERGE_SECONDS, WorkQueue
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.gateway.held_reader import FRESH_SECONDS, HeldCounts, HeldReader
from vllm_operator.gateway.reconciler import GatewayReconciler, GatewayRules
from vllm_operator.gateway.remote import references_of
from vllm_operator.gateway.status import GatewayInputs
from vllm_operator.gateway.wake import WakeUps
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.reflector import Reflector
from vllm_operator.informers.store import Store
from vllm_operator.informers.watch_source import RelistPolicy, WatchSource
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.fields import get_list, get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import DEPLOYMENT, GATEWAY, POD, SERVER
from vllm_operator.kube.ownership import POD_TEMPLATE_HASH
from vllm_operator.kube.raw_objects import Raw, read_object
from vllm_operator.kube.types import Object
from vllm_operator.settings import Settings

WORKERS = 4
"""Gateways that are reconciled at once."""
RESYNC_SECONDS = 30.0
"""Interval at which a gateway is reconciled without a reason: its Secrets and most of its children are not watched."""

logger = logging.getLogger(__name__)


class GatewayController:
    """Reconciles the gateways of the served namespaces.

    Args:
        client: the API client.
        store: the caches of the operator: servers and Deployments.
        namespaces: the served namespaces.
        held: gets the requests that the gateways hold for each server.
        availability: ends backoffs when the API server is reachable again.
        settings: what the install allows; without an image of the agent, gateways are left alone.
    """

    def __init__(
        self,
        settings: Settings,
        client: ApiClient,
        store: Store,
        held: HeldRequests,
        namespaces: ServedNamespaces,
        availability: ApiServerAvailability,
    ) -> None:
        self._is_on = bool(settings.agent_image)
        rules = GatewayRules(
            settings.agent_image, settings.envoy_image, settings.labelled_secrets, settings.restricted_pod_template
        )
        self._client = client
        self._store = store
        self._namespaces = namespaces
        self._availability = availability
        self._objects: dict[tuple[str, str], Object] = {}
        self._events = EventRecorder(client, time.monotonic, GATEWAY_KIND)
        self._held, self._reader = held, HeldReader()
        self._wake_ups = WakeUps(client, "")
        self._polled: set[Key] = set()
        """Gateways with a server in another namespace that sleeps: no event reports a request for it."""
        self._references: dict[tuple[str, str], frozenset[tuple[str, str]]] = {}
        """Gateway -> namespaces and instance labels of the servers of other namespaces that it names."""
        self._reconciler = GatewayReconciler(client, self, self._events, self._reader, rules)
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile, WORKERS, lambda *_: None, lambda key: False)

    def tasks(self, acquired: asyncio.Event | None) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what runs until the process stops, by the name of its task.

        Args:
            acquired: set once this process leads; None without leader election.
        """
        if not self._is_on:
            return {}
        reflectors = {
            f"reflector of {GATEWAY.path(namespace)}": self._reflector(namespace).run()
            for namespace in self._namespaces.lists
        }
        return {
            **reflectors,
            "gateway queue": self._run_queue(acquired),
            "gateway events": self._events.run(),
            "gateway polls": self._poll(acquired),
        }

    def on_watch_event(self, kind: str, body: Mapping[str, Any]) -> None:
        """Enqueue the gateways that an object of the operator's caches concerns."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace", "")
        for place in self._users(kind, namespace, metadata):
            self._queue.add_after(Key(*place), MERGE_SECONDS)
        if kind == SERVER.name:
            for place in self._objects:
                if place[0] == namespace:
                    self._queue.add_after(Key(*place), MERGE_SECONDS)
        elif kind == DEPLOYMENT.name and get_str(metadata, "labels", LABEL_COMPONENT) == "gateway":
            for place in self._objects:
                if place[0] == namespace and gateway_child_name(place[1]) == metadata["name"]:
                    self._queue.add_after(Key(*place), MERGE_SECONDS)

    def _users(self, kind: str, namespace: str, metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the gateways of other namespaces that use the server of an object."""
        if kind == SERVER.name:
            instance = child_name(metadata["name"])
        elif kind == POD.name:
            instance = get_str(metadata, "labels", LABEL_INSTANCE)
        else:
            return []
        server = (namespace, instance)
        return [place for place, used in self._references.items() if server in used]

    def _note_references(self) -> None:
        """Remember which servers of other namespaces each gateway names."""
        found = {place: references_of(body) for place, body in self._objects.items()}
        self._references = {
            place: frozenset((namespace, child_name(name)) for namespace, name in named)
            for place, named in found.items()
            if named
        }

    def gateway(self, key: Key) -> Object | None:
        """Return a VLLMGateway."""
        return self._objects.get((key.namespace, key.instance))

    def servers(self, namespace: str) -> list[Object]:
        """Return the VLLMServers of a namespace."""
        return self._store.servers_in(namespace)

    def deployment(self, namespace: str, name: str) -> Object | None:
        """Return a Deployment that the operator manages."""
        return self._store.get(DEPLOYMENT.name, namespace, name)

    def server(self, namespace: str, name: str) -> Object | None:
        """Return a VLLMServer of any served namespace."""
        return self._store.get(SERVER.name, namespace, name)

    def replicas(self, namespace: str, name: str) -> list[Object]:
        """Return the pods of a VLLMServer of any served namespace."""
        return [cached.body for cached in self._store.replicas(Key(namespace, child_name(name)))]

    def pods(self, namespace: str, name: str) -> list[Object]:
        """Return the pods of a gateway: those of its Deployment, whoever else has their labels."""
        named = self._store.names(Key(namespace, name), POD.name)
        bodies = (self._store.get(POD.name, namespace, pod) for pod in named)
        return [pod for pod in bodies if pod and _is_of_deployment(pod, name)]

    def _reflector(self, namespace: str | None) -> Reflector:
        source = WatchSource(GATEWAY, GATEWAY.path(namespace), partial(self._list, namespace))
        retry = RelistPolicy(self._availability.sleep_unless_recovered, absent_seconds=15.0)
        return Reflector(self._client, source, self._on_event, lambda version: False, retry)

    async def _list(self, namespace: str | None) -> str:
        def pack(raw: Raw) -> Object | None:
            return read_object(raw, GATEWAY)

        listing = await self._client.list(GATEWAY, namespace, None, pack)
        found = {_place(body): body for body in listing.items} if listing else {}
        others = {place: body for place, body in self._objects.items() if namespace not in (None, place[0])}
        self._objects = {**others, **found}
        self._note_references()
        for place in found:
            self._queue.add(Key(*place))
        return listing.version if listing else ""

    def _on_event(self, event_type: str, body: Mapping[str, Any]) -> None:
        place = _place(body)
        before = self._objects.get(place)
        if event_type == "DELETED":
            self._objects.pop(place, None)
        else:
            self._objects[place] = body
        self._note_references()
        # The answer to a status that was just written needs no reconcile.
        if before is None or event_type == "DELETED" or _changed(before, body):
            self._queue.add(Key(*place))

    async def _reconcile(self, key: Key) -> Requeue:
        try:
            inputs = await self._reconciler.reconcile(key)
        except VLLMOperatorError as error:
            logger.warning("%s: will try again: %s", key, error)
            raise
        except Exception:
            logger.exception("%s: the reconcile of the gateway failed", key)
            raise
        if inputs is None:
            self._held.report(key, None)
            self._polled -= {key}
            return Requeue.never()
        return await self._report_held(key, inputs)

    async def _report_held(self, key: Key, inputs: GatewayInputs) -> Requeue:
        """Pass on what a gateway holds, and wake the servers of other namespaces, where its agents have no rights."""
        held = inputs.held or HeldCounts({})
        counts = {name: count for name, count in held.by_server.items() if self._may_hold(name, inputs)}
        self._held.report(key, {_server_key(key.namespace, name): count for name, count in counts.items()})
        await self._wake_ups.renew({name: count for name, count in counts.items() if "/" in name})
        self._polled = self._polled - {key} | ({key} if inputs.remote.has_sleeping else set())
        # An answer that is not fresh may hide a request that came since.
        is_soon = held.total > 0 or held.age > 0
        # A Gateway takes a route within seconds, which no watch reports.
        is_soon = is_soon or (inputs.exposed is not None and inputs.exposed.status == "Unknown")
        return Requeue.after(FRESH_SECONDS if is_soon else RESYNC_SECONDS)

    async def _poll(self, acquired: asyncio.Event | None) -> None:
        """Reconcile gateways that hold requests for servers of other namespaces."""
        if acquired is not None:
            await acquired.wait()
        while True:
            await asyncio.sleep(FRESH_SECONDS)
            for key in sorted(self._polled):
                pods = self.pods(key.namespace, gateway_child_name(key.instance))
                held = await self._reader.read(str(key), pods)
                if held is not None and held.total:
                    self._queue.add(key)

    @staticmethod
    def _may_hold(name: str, inputs: GatewayInputs) -> bool:
        """Return whether a name in the answer of an agent may count: those of other namespaces need their leave."""
        return "/" not in name or tuple(name.split("/", 1)) in inputs.remote.names()

    async def _run_queue(self, acquired: asyncio.Event | None) -> None:
        if acquired is not None:
            await acquired.wait()
        try:
            await self._queue.run()
        finally:
            await self._reader.close()


def _is_of_deployment(pod: Object, name: str) -> bool:
    """Return whether a pod belongs to the Deployment of a gateway. kube/ownership.py says why that holds."""
    replica_set = f"{name}-{get_str(pod, 'metadata', 'labels', POD_TEMPLATE_HASH)}"
    return any(
        owner.get("controller") is True
        and get_str(owner, "kind") == "ReplicaSet"
        and get_str(owner, "name") == replica_set
        for owner in get_list(pod, "metadata", "ownerReferences")
    )


def _server_key(namespace: str, name: str) -> Key:
    """Return the key of a server by the name that a gateway has for it."""
    other, _, server = name.rpartition("/")
    return Key(other or namespace, child_name(server))


def _place(body: Mapping[str, Any]) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _changed(before: Object, after: Mapping[str, Any]) -> bool:
    """Return whether more than the status has changed."""
    old, new = before["metadata"], after["metadata"]
    names = ("uid", "generation", "deletionTimestamp", "labels", "annotations")
    return any(old.get(name) != new.get(name) for name in names)
