"""Leader election by a Lease (coordination.k8s.io/v1), with the rules and times of client-go's leaderelection.

The leader may write until RENEW_DEADLINE_SECONDS after its last renewal; another may take over only after
DURATION_SECONDS. A frozen leader therefore finds out that it may no longer write before it writes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import LEASE

DURATION_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
STANDBY_SECONDS = 1.0
"""How often a standby looks: so much later than the leader's end its 15 seconds begin, and it sees a release."""

logger = logging.getLogger(__name__)


class LeaderElector:
    """One holder at a time.

    Args:
        client: the API client; these calls are exempt from the rule that only the leader writes.
        namespace: namespace of the Lease.
        name: its name.
        identity: who we are; different for every process.
        clock: monotonic seconds, which go on while a process is frozen.
    """

    def __init__(self, client: ApiClient, namespace: str, name: str, identity: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed = float("-inf")
        self._seen: str | None = None
        """Resource version that was seen last."""
        self._expires = float("-inf")
        """When the lease expires, by our own clock, if it stays as it was seen."""
        self.acquired = asyncio.Event()

    def is_held(self) -> bool:
        """True while we may write."""
        return self._clock() - self._renewed < RENEW_DEADLINE_SECONDS

    async def run(self) -> None:
        """Acquire and renew until cancelled. Ends when the lease was lost: the process is then to be restarted."""
        while True:
            try:
                await self._try()
            except ApiError as error:
                logger.warning("lease %s/%s: %s", self._namespace, self._name, error)
            if self.acquired.is_set() and not self.is_held():
                logger.error("the lease was lost: another operator may lead now")
                return
            await asyncio.sleep(self._pause())

    async def release(self) -> None:
        """Let another take over at once."""
        if not self.is_held():
            return
        self._renewed = float("-inf")
        try:
            live = await self._client.get(LEASE, self._namespace, self._name)
            if live is not None and live["spec"].get("holderIdentity") == self._identity:
                spec = {**live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(LEASE, {**live, "spec": spec})
        except ApiError as error:
            logger.warning("the lease was not released: %s", error)

    def _pause(self) -> float:
        """Seconds until the next renewal or look; a standby looks at the very moment at which the lease expires."""
        if self.acquired.is_set():
            return RETRY_SECONDS * random.uniform(0.8, 1.2)
        pause = STANDBY_SECONDS * random.uniform(0.8, 1.2)
        left = self._expires - self._clock()
        return left if 0 < left < pause else pause

    async def _try(self) -> None:
        asked = self._clock()
        live = await self._client.get(LEASE, self._namespace, self._name)
        if live is not None and not self._is_free(live):
            return
        try:
            await self._write(live)
        except ApiError as error:
            if error.status != 409:
                raise
            return
        # From before the request: the API server's own time of renewal is later.
        self._renewed = asked
        if not self.acquired.is_set():
            logger.info("leading as %s", self._identity)
            self.acquired.set()

    def _is_free(self, live: dict[str, Any]) -> bool:
        """Ours, released, or unchanged for its whole duration by our own clock: clocks of others prove nothing."""
        spec = live.get("spec") or {}
        version = live["metadata"].get("resourceVersion")
        if self._seen != version:
            self._seen = version
            self._expires = self._clock() + float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        return spec.get("holderIdentity") in {self._identity, "", None} or self._clock() >= self._expires

    async def _write(self, live: dict[str, Any] | None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        former = (live or {}).get("spec") or {}
        takes_over = former.get("holderIdentity") != self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": now if takes_over else former.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(former.get("leaseTransitions") or 0) + (1 if takes_over and live else 0),
        }
        if live is not None:
            await self._client.replace(LEASE, {**live, "spec": spec})
            return
        metadata = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
        await self._client.create(LEASE, self._namespace, body)
