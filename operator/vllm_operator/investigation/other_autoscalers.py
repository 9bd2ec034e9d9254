"""Find the autoscalers of other people that scale a server which the operator scales already.

The HorizontalPodAutoscaler that KEDA makes of the server's ScaledObject is read on the way: KEDA reports a trigger that
fails, and nothing when its metrics do not reach that autoscaler.

Autoscalers are not watched, since each of them changes its status all the time. The namespaces of servers with
autoscaling are listed from time to time instead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.names import KIND, child_name
from vllm_operator.errors import ApiError
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get, get_condition, get_list, get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, DEPLOYMENT, SCALED_OBJECT, Kind
from vllm_operator.kube.managed_fields import AUTOSCALER_MANAGER, SCALED_BY
from vllm_operator.kube.types import Object

LIST_SECONDS = 60.0
"""Seconds between two lists of a namespace in which nothing was found."""

FOUND_SECONDS = 10.0
"""Seconds between two lists of a namespace in which another autoscaler was found, or is suspected."""

TURN_SECONDS = 1.0
"""Seconds between two turns. A turn lists one namespace after the other."""

READ_SECONDS = 10.0
"""Seconds after which a list has failed."""

MAX_OBJECTS = 500
"""Objects of a namespace that are looked at; further ones are not found."""

MAX_LIST_BYTES = 8 * 1024 * 1024
"""Bytes of a list: an autoscaler has a few KiB."""

MAX_NAMED = 5
"""Autoscalers of one server that the status names."""

MAX_FAILURE_CHARACTERS = 500
"""Characters of the failure of an autoscaler that the status quotes."""

HPA = CHILD_KINDS["HorizontalPodAutoscaler"]

logger = logging.getLogger(__name__)

ListObjects = Callable[[Kind, str], Any]
"""Lists the objects of a kind in a namespace; awaitable."""


async def list_autoscalers(client: ApiClient, kind: Kind, namespace: str) -> list[Object]:
    """Return the autoscalers of one kind in a namespace, at most MAX_OBJECTS; none where its CRD is missing.

    Raises:
        ApiError: they cannot be read.
    """
    page = await client.list_page(kind.path(namespace), {"limit": str(MAX_OBJECTS)}, MAX_LIST_BYTES)
    found: list[Object] = []
    for raw in page.items if page else ():
        try:
            body = orjson.loads(memoryview(raw))
        except orjson.JSONDecodeError:
            continue
        if isinstance(body, dict):
            found.append(body)
    return found


def others_by_server(kind: str, bodies: Iterable[Object], namespace: str) -> dict[Key, list[str]]:
    """Return server -> autoscalers of other people that scale it, such as `HorizontalPodAutoscaler web`."""
    found: dict[Key, list[str]] = {}
    for body in bodies:
        owners = {get_str(owner, "kind") for owner in get_list(body, "metadata", "ownerReferences")}
        # That of a ScaledObject is named by its ScaledObject.
        if owners & {KIND, SCALED_OBJECT}:
            continue
        if (key := _scaled_server(body, namespace)) is not None:
            found.setdefault(key, []).append(f"{kind} {get_str(body, 'metadata', 'name')}")
    return found


def _scaled_server(body: Object, namespace: str) -> Key | None:
    """Return the server whose pods an autoscaler scales, by its Deployment's name; None for other kinds."""
    target = get(body, "spec", "scaleTargetRef")
    name, kind = get_str(target, "name"), get_str(target, "kind") or DEPLOYMENT.name
    if not name or kind not in {DEPLOYMENT.name, KIND}:
        return None
    return Key(namespace, child_name(name) if kind == KIND else name)


def failures_by_server(bodies: Iterable[Object], namespace: str) -> dict[Key, str]:
    """Return server -> what keeps the HorizontalPodAutoscaler of its ScaledObject from scaling, as reason: message."""
    found: dict[Key, str] = {}
    for body in bodies:
        owners = {get_str(owner, "kind") for owner in get_list(body, "metadata", "ownerReferences")}
        entries = [get_condition(body, kind) for kind in ("AbleToScale", "ScalingActive")]
        failed = [entry for entry in entries if get_str(entry, "status") == "False"]
        # KEDA stops the autoscaler of its own accord where it pauses the ScaledObject or scales it to zero.
        failed = [entry for entry in failed if get_str(entry, "reason") != "ScalingDisabled"]
        key = _scaled_server(body, namespace)
        if key is not None and SCALED_OBJECT in owners and failed:
            text = f"{get_str(failed[0], 'reason')}: {get_str(failed[0], 'message')}"
            found[key] = text[:MAX_FAILURE_CHARACTERS]
    return found


def is_scaled_by_others(scaling: Autoscaling, snapshot: Snapshot) -> bool:
    """Return whether something besides the operator seems to scale a server."""
    active = get_condition(snapshot.autoscaler, "ScalingActive")
    if get_str(active, "reason") == "AmbiguousSelector":
        return True
    if scaling.source != "operator":
        return False
    for body in (snapshot.server, snapshot.deployment):
        managers = get(body, "metadata", SCALED_BY)
        if isinstance(managers, list) and AUTOSCALER_MANAGER in managers:
            return True
    return False


@dataclass
class _Namespace:
    """One namespace: when it is listed next, and by server the other autoscalers and the failure of KEDA's."""

    due: float
    listed: float = float("-inf")
    found: Mapping[Key, list[str]] = field(default_factory=dict)
    failures: Mapping[Key, str] = field(default_factory=dict)


class OtherAutoscalers:
    """Look for other autoscalers of the servers that the operator scales, while this process leads.

    Args:
        list_objects: lists the objects of a kind in a namespace.
        may_look: returns whether this process leads.
        on_change: called with the key of a server whose other autoscalers have changed; must not block.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        list_objects: ListObjects,
        may_look: Callable[[], bool],
        on_change: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_objects = list_objects
        self._may_look = may_look
        self._on_change = on_change
        self._clock = clock
        self._servers: set[Key] = set()
        self._namespaces: dict[str, _Namespace] = {}

    def of(self, key: Key, *, is_suspected: bool = False) -> tuple[str, ...]:
        """Return the other autoscalers of a server, as far as known, and look for them from now on.

        Args:
            key: the key of the server.
            is_suspected: something scales the server besides the operator.
        """
        is_new = key not in self._servers
        self._servers.add(key)
        known = self._namespaces.setdefault(key.namespace, _Namespace(due=self._clock()))
        if is_new or is_suspected:
            known.due = min(known.due, known.listed + FOUND_SECONDS)
        return tuple(sorted(known.found.get(key, ()))[:MAX_NAMED])

    def failure(self, key: Key) -> str:
        """Return what keeps the autoscaler that KEDA made for a server from scaling; empty when nothing is known."""
        known = self._namespaces.get(key.namespace)
        return known.failures.get(key, "") if known else ""

    def forget(self, key: Key) -> None:
        """Forget a server that is gone, or that the operator does not scale."""
        if key in self._servers:
            self._servers.discard(key)
            if not any(one.namespace == key.namespace for one in self._servers):
                self._namespaces.pop(key.namespace, None)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(TURN_SECONDS)
            if self._may_look():
                await self.look_due()

    async def look_due(self) -> None:
        """List the namespaces that are due."""
        now = self._clock()
        for namespace, known in list(self._namespaces.items()):
            if known.due <= now:
                await self._look(namespace, known)

    async def _look(self, namespace: str, known: _Namespace) -> None:
        known.listed = self._clock()
        found: dict[Key, list[str]] = {}
        failures: dict[Key, str] = {}
        for kind in (HPA, CHILD_KINDS[SCALED_OBJECT]):
            bodies = await self._listed(kind, namespace)
            if bodies is None:
                # What was found before is still the best that is known.
                _keep(known.found, kind.name, found)
                failures = dict(known.failures) if kind == HPA else failures
                continue
            for key, names in others_by_server(kind.name, bodies, namespace).items():
                found.setdefault(key, []).extend(names)
            if kind == HPA:
                failures = failures_by_server(bodies, namespace)
        changed = [key for key in self._servers if key.namespace == namespace and _is_new(key, known, found, failures)]
        known.found, known.failures = found, failures
        is_found = any(key in self._servers for key in (*found, *failures))
        known.due = self._clock() + (FOUND_SECONDS if is_found else LIST_SECONDS)
        for key in changed:
            self._on_change(key)

    async def _listed(self, kind: Kind, namespace: str) -> list[Object] | None:
        """Return the autoscalers of one kind; None where they cannot be listed."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                bodies: list[Object] = await self._list_objects(kind, namespace)
                return bodies
        except (ApiError, TimeoutError) as error:
            logger.info("%s of namespace %s cannot be listed: %s", kind.name, namespace, str(error) or "no answer")
            return None


def _is_new(key: Key, known: _Namespace, found: Mapping[Key, list[str]], failures: Mapping[Key, str]) -> bool:
    """Return whether a list found something else for a server than the one before."""
    return found.get(key) != known.found.get(key) or failures.get(key) != known.failures.get(key)


def _keep(known: Mapping[Key, list[str]], kind: str, found: dict[Key, list[str]]) -> None:
    """Add the names of one kind that an earlier list found."""
    for key, names in known.items():
        kept = [name for name in names if name.startswith(f"{kind} ")]
        if kept:
            found.setdefault(key, []).extend(kept)
