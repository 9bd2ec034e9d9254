"""Which namespaces are served: all of them, or some that were named, as far as their Roles let us."""

from __future__ import annotations

import asyncio
import logging

from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import SERVER

AGAIN_SECONDS = 10.0

logger = logging.getLogger(__name__)


class ServedNamespaces:
    """The namespaces that are served.

    A namespace whose Role is missing would end every watch on it, and with it the operator: it is left out, and the
    others are served.

    Args:
        client: the API client.
        wanted: the namespaces that the user named; none for the whole cluster.
    """

    def __init__(self, client: ApiClient, wanted: tuple[str, ...]) -> None:
        self._client = client
        self._wanted = wanted
        self._named: set[str] = set()
        """What was said to be closed, which is said once."""
        self.namespaces: tuple[str, ...] = wanted
        """Those that may be read; none for the whole cluster."""

    @property
    def is_cluster(self) -> bool:
        """True when all namespaces are served, and CRDs may be watched."""
        return not self._wanted

    @property
    def closed(self) -> tuple[str, ...]:
        """Those that were named and may not be read."""
        return tuple(name for name in self._wanted if name not in self.namespaces)

    @property
    def lists(self) -> tuple[str | None, ...]:
        """Namespaces to list, one after the other; None stands for all at once."""
        return self.namespaces or (None,)

    async def open(self) -> None:
        """Find out what may be read; wait while that is nothing."""
        while not self.is_cluster:
            self.namespaces = tuple([name for name in self._wanted if await self._may_read(name)])
            if self.namespaces:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def await_role(self) -> None:
        """Return when a namespace that may not be read so far may be: watches on it need a new process."""
        while self.closed:
            await asyncio.sleep(AGAIN_SECONDS)
            for name in self.closed:
                if await self._may_read(name):
                    logger.info("namespace %s can be served now", name)
                    return

    async def _may_read(self, namespace: str) -> bool:
        try:
            await self._client.list_page(SERVER.path(namespace), {"limit": "1"})
        except ApiError as error:
            if error.status != 403:
                return True  # the API server does not answer, or the like: not a matter of rights
            self._name(namespace, error)
            return False
        return True

    def _name(self, namespace: str, error: ApiError) -> None:
        if namespace in self._named:
            return
        self._named.add(namespace)
        logger.warning(
            "namespace %s is not served until its Role and RoleBinding are there: apply the output of "
            "`vllm-operator manifests --serve %s`: %s",
            namespace,
            namespace,
            error.message,
        )
