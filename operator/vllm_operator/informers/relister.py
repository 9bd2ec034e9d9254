"""List whole kinds into the caches: to fill them, and to remove what vanished while a watch was interrupted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from vllm_operator.errors import ApiError
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.store import Store
from vllm_operator.informers.watch_source import selector_of
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import WATCHED_KINDS, Kind
from vllm_operator.kube.slices import in_slices

FULL_SECONDS = 3600.0
"""Seconds between two lists of every kind."""
SETTLE_SECONDS = 2.0
"""Seconds until a stale list is repeated."""
GONE_SECONDS = 5.0
"""Seconds of 404 after which a kind counts as gone. An API server that starts may answer 404 for a moment."""

logger = logging.getLogger(__name__)


class Relisted(NamedTuple):
    """The result of a list.

    Attributes:
        touched: keys of the servers of which an object changed or vanished.
        version: resource version of the list; empty when the API server does not serve the kind.
    """

    touched: set[Key]
    version: str


class Relister:
    """Lists kinds as a whole.

    Args:
        client: the API client.
        store: the caches to correct.
        namespaces: the namespaces that are served.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        client: ApiClient,
        store: Store,
        namespaces: ServedNamespaces,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._store = store
        self._namespaces = namespaces
        self._clock = clock
        self._due: dict[str, float] = {}
        """Time of the next list, by kind."""
        self._missing_since: dict[str, float] = {}
        """Time of the first 404 in a row, by kind."""

    async def relist(self, kind: Kind) -> set[Key]:
        """List one kind in all namespaces; return the keys of the servers of which an object changed or vanished.

        Raises:
            ApiError: the list failed.
        """
        lists = [await self.relist_namespace(kind, namespace) for namespace in self._namespaces.lists]
        return {key for one in lists for key in one.touched}

    async def relist_namespace(self, kind: Kind, namespace: str | None) -> Relisted:
        """List one kind in one of the namespaces that are served; None stands for all at once.

        Raises:
            ApiError: the list failed.
        """
        before, newest = self._store.uids(kind.name, namespace), self._store.newest_version(kind.name)
        found = await self._client.list(kind, namespace, selector_of(kind), self._store.packer(kind))
        if found is None:
            return Relisted(self._on_missing(kind), "")
        self._missing_since.pop(kind.name, None)
        if found.version.isdigit():
            # A numeric version shows which objects are newer than the list, so the UIDs may be read after it.
            before = self._store.uids(kind.name, namespace)
        if found.version.isdigit() and int(found.version) < newest:
            logger.warning("the list of %s is older than the cache: it will be repeated", kind.plural)
            self.schedule(kind)
        steps = self._store.replace(kind.name, found.items, before, found.version)
        return Relisted({key async for key in in_slices(steps) if key is not None}, found.version)

    def schedule(self, kind: Kind) -> None:
        """Let `run` list the kind once more, `SETTLE_SECONDS` from now."""
        self._due.setdefault(kind.name, self._clock() + SETTLE_SECONDS)

    def is_scheduled(self, kind: Kind) -> bool:
        """Return whether `run` will list the kind before the next full round."""
        return kind.name in self._due

    async def run(self, enqueue_all: Callable[[Iterable[Key]], None]) -> None:
        """Make the scheduled lists, and list every kind each `FULL_SECONDS`, until cancelled."""
        full = self._clock() + FULL_SECONDS
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            now = self._clock()
            if now >= full:
                full = now + FULL_SECONDS
                self._due.update({kind.name: now for kind in WATCHED_KINDS})
            for kind in WATCHED_KINDS:
                if self._due.get(kind.name, float("inf")) <= now:
                    enqueue_all(await self._try(kind))

    def _on_missing(self, kind: Kind) -> set[Key]:
        """Forget the objects of a kind that the API server has not served for a while.

        `OptionalKinds` decides the same about an optional kind.
        """
        if kind.optional:
            return set()
        now = self._clock()
        if now - self._missing_since.setdefault(kind.name, now) < GONE_SECONDS:
            return set()
        return self._store.drop(kind.name)

    async def _try(self, kind: Kind) -> list[Key]:
        due = self._due.pop(kind.name)
        try:
            return sorted(await self.relist(kind))
        except ApiError as error:
            logger.warning("%s could not be listed, will try again: %s", kind.plural, error)
            self._due.setdefault(kind.name, due)
            return []
