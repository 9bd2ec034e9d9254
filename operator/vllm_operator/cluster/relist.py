"""Complete lists: to fill the caches, and to forget what vanished while a watch was blind.

After 410 Gone kopf lists again and tells what is there, but not what is gone. The same holds for its first list: what
vanished since ours, which the caches were filled from, is never told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.cluster.client import ApiClient
from vllm_operator.cluster.kinds import SERVER, WATCHED, Kind
from vllm_operator.cluster.store import Key, Store
from vllm_operator.errors import ApiError

FULL_SECONDS = 3600.0
SETTLE_SECONDS = 2.0
FIRST_SECONDS = 5.0
"""When to list again after the start, where kopf's first list was empty and tells nothing."""

logger = logging.getLogger(__name__)


class Relist:
    """Lists kinds as a whole.

    Args:
        client: the API client.
        store: the caches to correct.
        namespace: the one namespace that is served; None for all.
    """

    def __init__(self, client: ApiClient, store: Store, namespace: str | None) -> None:
        self._client = client
        self._store = store
        self._namespace = namespace
        self._due: dict[str, float] = {}

    async def once(self, kind: Kind) -> set[Key]:
        """List one kind into the cache; returns the servers of which something changed.

        Raises:
            ApiError: the list failed.
        """
        selector = None if kind is SERVER else MANAGED_SELECTOR
        before = self._store.uids(kind.name)
        bodies = await self._client.list(kind, self._namespace, selector)
        # Items of a list carry neither kind nor version.
        return self._store.replace(
            kind.name, ({**body, "apiVersion": kind.api_version, "kind": kind.name} for body in bodies), before
        )

    def saw(self, kind: Kind, event: str | None) -> None:
        """Take note of a listing by kopf (`event` is None): a watch begins, and something may have vanished before."""
        if event is None:
            # Anew with every object, so that the kind is listed once, when kopf is through.
            self._due[kind.name] = time.monotonic() + SETTLE_SECONDS

    async def run(self, wake: Callable[[list[Key]], None]) -> None:
        """List what is due, for ever."""
        full = time.monotonic() + FULL_SECONDS
        for kind in WATCHED:
            self._due.setdefault(kind.name, time.monotonic() + FIRST_SECONDS)
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            now = time.monotonic()
            if now >= full:
                full = now + FULL_SECONDS
                self._due.update({kind.name: now for kind in WATCHED})
            for kind in WATCHED:
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
