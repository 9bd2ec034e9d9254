"""Elect a leader with a Lease (coordination.k8s.io/v1), by the rules and times of client-go's leaderelection.

The leader may write until RENEW_DEADLINE_SECONDS after its last renewal. Another process may lead only after
LEASE_DURATION_SECONDS. So a leader that was suspended stops writing before another one starts.
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

LEASE_DURATION_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RENEW_INTERVAL_SECONDS = 2.0
STANDBY_INTERVAL_SECONDS = 1.0
"""Seconds between two reads by a standby: by so much it may be late to read a release or a renewal."""

logger = logging.getLogger(__name__)


class LeaderElector:
    """Acquire, renew and release a Lease, which one process holds at a time.

    Args:
        client: an API client that may write without leading.
        namespace: namespace of the Lease.
        name: its name.
        identity: name of this process; different for every process.
        clock: monotonic time in seconds, which continues while the process is suspended.

    Attributes:
        acquired: set once this process leads.
    """

    def __init__(self, client: ApiClient, namespace: str, name: str, identity: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed_at = float("-inf")
        self._seen_version: str | None = None
        """Resource version of the Lease at the last read."""
        self._expires_at = float("-inf")
        """When the Lease expires, by our own clock, unless its holder renews it."""
        self.acquired = asyncio.Event()

    def is_held(self) -> bool:
        """Return whether this process may write."""
        return self._clock() - self._renewed_at < RENEW_DEADLINE_SECONDS

    async def run(self) -> None:
        """Acquire and renew the Lease until cancelled. Returns when it was lost: the process must then restart."""
        while True:
            try:
                await self._acquire_or_renew()
            except ApiError as error:
                logger.warning("lease %s/%s: %s", self._namespace, self._name, error)
            if self.acquired.is_set() and not self.is_held():
                logger.error("the lease was lost: another operator may lead now")
                return
            await asyncio.sleep(self._delay())

    async def release(self) -> None:
        """Release the Lease, so that another process can lead at once."""
        if not self.is_held():
            return
        self._renewed_at = float("-inf")
        try:
            live = await self._client.get(LEASE, self._namespace, self._name)
            if live is not None and live["spec"].get("holderIdentity") == self._identity:
                spec = {**live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.replace(LEASE, {**live, "spec": spec})
        except ApiError as error:
            logger.warning("the lease was not released: %s", error)

    def _delay(self) -> float:
        """Return the seconds until the next renewal or read; a standby reads at the moment when the Lease expires."""
        if self.acquired.is_set():
            return RENEW_INTERVAL_SECONDS * random.uniform(0.8, 1.2)
        delay = STANDBY_INTERVAL_SECONDS * random.uniform(0.8, 1.2)
        left = self._expires_at - self._clock()
        return left if 0 < left < delay else delay

    async def _acquire_or_renew(self) -> None:
        requested_at = self._clock()
        live = await self._client.get(LEASE, self._namespace, self._name)
        if live is not None and not self._is_free(live):
            return
        try:
            await self._write(live)
        except ApiError as error:
            if error.status != 409:
                raise
            return
        # The time before the request: the API server's own time of the renewal is later.
        self._renewed_at = requested_at
        if not self.acquired.is_set():
            logger.info("leading as %s", self._identity)
            self.acquired.set()

    def _is_free(self, live: dict[str, Any]) -> bool:
        """Return whether the Lease is ours, released, or expired by our own clock: other clocks may be wrong."""
        spec = live.get("spec") or {}
        version = live["metadata"].get("resourceVersion")
        if self._seen_version != version:
            self._seen_version = version
            self._expires_at = self._clock() + float(spec.get("leaseDurationSeconds") or LEASE_DURATION_SECONDS)
        return spec.get("holderIdentity") in {self._identity, "", None} or self._clock() >= self._expires_at

    async def _write(self, live: dict[str, Any] | None) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        previous = (live or {}).get("spec") or {}
        is_new_holder = previous.get("holderIdentity") != self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_DURATION_SECONDS,
            "acquireTime": now if is_new_holder else previous.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(previous.get("leaseTransitions") or 0) + (1 if is_new_holder and live else 0),
        }
        if live is not None:
            await self._client.replace(LEASE, {**live, "spec": spec})
            return
        metadata = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
        await self._client.create(LEASE, self._namespace, body)
