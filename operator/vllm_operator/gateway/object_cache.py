"""A small cache of the objects of one namespace, which a reflector keeps current."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vllm_operator.informers.reflector import Reflector
from vllm_operator.informers.watch_source import RelistPolicy, WatchSource, selector_of
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.raw_objects import Raw, read_object
from vllm_operator.kube.types import Object


class ObjectCache:
    """The objects of some kinds in one namespace.

    Args:
        client: the API client.
        namespace: the namespace.
        kinds: the kinds.
        on_change: called after each change.
        availability: ends backoffs when the API server is reachable again.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        kinds: tuple[Kind, ...],
        on_change: Callable[[], None],
        availability: ApiServerAvailability,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._on_change = on_change
        self._objects: dict[str, dict[str, Object]] = {kind.name: {} for kind in kinds}
        self._reflectors = [self._reflector(kind, availability) for kind in kinds]

    async def fill(self) -> None:
        """List every kind once.

        Raises:
            ApiError: a list failed.
        """
        for reflector in self._reflectors:
            await reflector.fill()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    def objects(self, kind: Kind) -> list[Object]:
        """Return the objects of a kind, sorted by name."""
        found = self._objects[kind.name]
        return [found[name] for name in sorted(found)]

    def get(self, kind: Kind, name: str) -> Object | None:
        """Return one object; None when there is none."""
        return self._objects[kind.name].get(name)

    def _reflector(self, kind: Kind, availability: ApiServerAvailability) -> Reflector:
        source = WatchSource(kind, kind.path(self._namespace), partial(self._list, kind))
        retry = RelistPolicy(availability.sleep_unless_recovered)
        return Reflector(self._client, source, partial(self._on_event, kind), lambda version: False, retry)

    async def _list(self, kind: Kind) -> str:
        def pack(raw: Raw) -> Object | None:
            return read_object(raw, kind)

        listing = await self._client.list(kind, self._namespace, selector_of(kind), pack)
        self._objects[kind.name] = {body["metadata"]["name"]: body for body in listing.items} if listing else {}
        self._on_change()
        return listing.version if listing else ""

    def _on_event(self, kind: Kind, event_type: str, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        if event_type == "DELETED":
            self._objects[kind.name].pop(name, None)
        else:
            self._objects[kind.name][name] = body
        self._on_change()
