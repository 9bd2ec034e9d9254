"""Find out which namespaces the operator can serve: all of them, or the named ones whose Roles are installed."""

from __future__ import annotations

import asyncio
import logging

from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import SERVER

RETRY_SECONDS = 10.0
"""Seconds between two checks of a namespace that may not be read."""

logger = logging.getLogger(__name__)


class ServedNamespaces:
    """The namespaces that are served.

    The caches count as filled when every list has succeeded. Lists of a namespace without a Role never succeed, so the
    operator leaves that namespace out and serves the others.

    Args:
        client: the API client.
        wanted: the namespaces that the user named; none for the whole cluster.
    """

    def __init__(self, client: ApiClient, wanted: tuple[str, ...]) -> None:
        self._client = client
        self._wanted = wanted
        self._reported: set[str] = set()
        """Namespaces that were reported as unreadable; each is reported once."""
        self.readable: tuple[str, ...] = wanted
        """Namespaces that may be read; none for the whole cluster."""

    @property
    def is_cluster(self) -> bool:
        """Return whether all namespaces are served."""
        return not self._wanted

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Return the named namespaces that may not be read."""
        return tuple(name for name in self._wanted if name not in self.readable)

    @property
    def lists(self) -> tuple[str | None, ...]:
        """Return the namespaces to list, one after the other; None stands for all at once."""
        return self.readable or (None,)

    async def wait_until_readable(self) -> None:
        """Find out which namespaces may be read; wait while there is none."""
        while not self.is_cluster:
            self.readable = tuple([name for name in self._wanted if await self._may_read(name)])
            if self.readable:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def wait_for_new_role(self) -> None:
        """Return when an unreadable namespace has become readable: a new process is to serve it."""
        while self.unreadable:
            await asyncio.sleep(RETRY_SECONDS)
            for name in self.unreadable:
                if await self._may_read(name):
                    logger.info("namespace %s can be served now", name)
                    return

    async def _may_read(self, namespace: str) -> bool:
        try:
            await self._client.list_page(SERVER.path(namespace), {"limit": "1"})
        except ApiError as error:
            if error.status != 403:
                return True  # The API server is unreachable or overloaded, which is no sign of a missing Role.
            self._report(namespace, error)
            return False
        return True

    def _report(self, namespace: str, error: ApiError) -> None:
        if namespace in self._reported:
            return
        self._reported.add(namespace)
        logger.warning(
            "namespace %s is not served until its Role and RoleBinding are there: apply the output of "
            "`vllm-operator manifests --serve %s`: %s",
            namespace,
            namespace,
            error.message,
        )
