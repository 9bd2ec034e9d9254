"""Complete lists: to fill the caches, and to forget what vanished while a watch was blind.

Our own watches go on from such a list. kopf, which watches the servers, lists for itself: after 410 Gone it tells what
is there, but not what is gone. The same holds for its first list: what vanished since ours is never told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.errors import ApiError
from vllm_operator.informers.namespaces import ServedNamespaces
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import SERVER, WATCHED_KINDS, Kind

FULL_SECONDS = 3600.0
SETTLE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Relister:
    """Lists kinds as a whole.

    Args:
        client: the API client.
        store: the caches to correct.
        scope: the namespaces that are served.
    """

    def __init__(self, client: ApiClient, store: Store, scope: ServedNamespaces) -> None:
        self._client = client
        self._store = store
        self._scope = scope
        self._due: dict[str, float] = {}
        self.versions: dict[tuple[str, str | None], str] = {}
        """Resource version of the last list of each kind and namespace; empty when the API server has no such kind."""

    async def once(self, kind: Kind) -> set[Key]:
        """List one kind into the cache; returns the servers of which something changed.

        Raises:
            ApiError: the list failed.
        """
        return {key for namespace in self._scope.lists for key in await self.within(namespace, kind)}

    async def within(self, namespace: str | None, kind: Kind) -> set[Key]:
        """The same for one of the namespaces that are served; None stands for all.

        Raises:
            ApiError: the list failed.
        """
        selector = None if kind is SERVER else MANAGED_SELECTOR
        before, newest = self._store.uids(kind.name, namespace), self._store.newest_version(kind.name)
        found = await self._client.list(kind, namespace, selector)
        self.versions[kind.name, namespace] = found.version if found else ""
        if found is None:
            # Whether a CRD is gone for good, two looks at what the API server has decide.
            return set() if kind.optional else self._store.drop(kind.name)
        if found.version.isdigit():
            # Versions tell what is later than the list; what came and went while it was made is gone.
            before = self._store.uids(kind.name, namespace)
        if found.version.isdigit() and int(found.version) < newest:
            logger.warning("the list of %s is older than what is known: will be listed again", kind.plural)
            self._due.setdefault(kind.name, time.monotonic() + SETTLE_SECONDS)
        # Items of a list carry neither kind nor version.
        bodies = ({**body, "apiVersion": kind.api_version, "kind": kind.name} for body in found.items)
        return self._store.replace(kind.name, bodies, before, found.version)

    def heard(self, kind: Kind) -> None:
        """Take note of a listing by kopf: a watch begins, and something may have vanished before."""
        # Anew with every page, so that the kind is listed once, when kopf is through.
        self._due[kind.name] = time.monotonic() + SETTLE_SECONDS

    def is_due(self, kind: Kind) -> bool:
        """Whether a list is to be made."""
        return kind.name in self._due

    async def run(self, wake: Callable[[list[Key]], None]) -> None:
        """List what is due, for ever."""
        full = time.monotonic() + FULL_SECONDS
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            now = time.monotonic()
            if now >= full:
                full = now + FULL_SECONDS
                self._due.update({kind.name: now for kind in WATCHED_KINDS})
            for kind in WATCHED_KINDS:
                if self._due.get(kind.name, float("inf")) <= now:
                    wake(await self._try(kind))

    async def _try(self, kind: Kind) -> list[Key]:
        due = self._due.pop(kind.name)
        try:
            touched = await self.once(kind)
        except ApiError as error:
            logger.warning("%s could not be listed, will try again: %s", kind.plural, error)
            self._due.setdefault(kind.name, due)
            return []
        return sorted(touched)
