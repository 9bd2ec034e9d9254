"""Request the start of a server that sleeps, while requests wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from vllm_operator.api.names import ANNOTATION_WAKE
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import format_timestamp
from vllm_operator.kube.kinds import SERVER

RENEW_SECONDS = 15.0
"""Seconds between two writes of the annotation while requests wait."""
MANAGER = "vllm-gateway"
"""Field manager of the annotation."""

logger = logging.getLogger(__name__)


class WakeUps:
    """Writes the annotation `vllm-operator.dev/wake` of servers.

    Args:
        client: the API client.
        namespace: the namespace of the servers.
        clock: monotonic time in seconds.
        now: returns the present time in UTC.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._now = now
        self._written: dict[str, float] = {}

    async def renew(self, held: Mapping[str, int]) -> None:
        """Write the annotation of each server for which requests wait, unless it was written a moment ago.

        Args:
            held: number of requests by server; NAMESPACE/NAME for one of another namespace.
        """
        for server in held:
            if self._clock() - self._written.get(server, float("-inf")) < RENEW_SECONDS:
                continue
            self._written[server] = self._clock()
            patch = {"metadata": {"annotations": {ANNOTATION_WAKE: format_timestamp(self._now())}}}
            namespace, _, name = server.rpartition("/")
            try:
                await self._client.merge_patch(SERVER, namespace or self._namespace, name, patch, MANAGER)
            except ApiError as error:
                logger.warning("the server %s could not be asked to start: %s", server, error)
