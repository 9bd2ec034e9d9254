"""Record Events on VLLMServers for `kubectl describe`: one Event counts repetitions, and writes are rate limited."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_correlator import CorrelatedEvent, EventCorrelator, EventType
from vllm_operator.kube.fields import format_timestamp
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import EVENT
from vllm_operator.kube.token_bucket import TokenBucket

COMPONENT = "vllm-operator"
FLUSH_INTERVAL_SECONDS = 30.0
"""Seconds between two writes of the occurrences that the rate limit held back."""

NAMESPACE_TOKENS = 2000
NAMESPACE_REFILL_SECONDS = 0.5
"""Writes for all servers of one namespace: at most NAMESPACE_TOKENS at once, then one every NAMESPACE_REFILL_SECONDS.
A thousand servers that start at once need two each."""

FLUSH_TIMEOUT_SECONDS = 3.0
"""Seconds for the last writes before the process ends."""

logger = logging.getLogger(__name__)


class EventRecorder:
    """Record Events. A failure to write one is logged, and has no other effect.

    Events go to the core API: `kubectl describe` sorts by `lastTimestamp`, which events.k8s.io does not have.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
        kind: kind of the objects that the Events are about.
    """

    def __init__(self, client: ApiClient, clock: Callable[[], float], kind: str = KIND) -> None:
        self._client = client
        self._kind = kind
        self._clock = clock
        self._correlators: dict[Key, EventCorrelator] = {}
        self._buckets: dict[str, TokenBucket] = {}
        """Limits of the writes by namespace. They outlive its servers, which may be created again and again."""

    async def record(
        self,
        key: Key,
        metadata: Mapping[str, Any],
        event_type: EventType,
        reason: str,
        message: str,
        now: datetime,
    ) -> None:
        """Record an occurrence on a server, at once unless the rate limit of the server holds it back.

        Args:
            key: the key of the server.
            metadata: its metadata.
            event_type: `Normal` or `Warning`.
            reason: CamelCase reason.
            message: the message, of which at most 1,024 bytes are written.
            now: the present time.
        """
        correlator = self._correlators.get(key)
        if correlator is None or correlator.uid != metadata["uid"]:
            correlator = self._correlators[key] = EventCorrelator(
                metadata["namespace"], metadata["name"], metadata["uid"], self._clock, self._bucket(key.namespace)
            )
        event = correlator.observe(event_type, reason, message, now)
        if correlator.take_token():
            await self._write(correlator, event)

    def forget(self, key: Key) -> None:
        """Forget the Events of a server that is gone."""
        self._correlators.pop(key, None)

    async def run(self) -> None:
        """Write the occurrences that the rate limit held back, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_SECONDS)
            self._forget_full_buckets()
            for correlator, event in self._pending():
                if correlator.take_token():
                    await self._write(correlator, event)

    async def flush(self) -> None:
        """Write all pending occurrences before the process ends, for at most FLUSH_TIMEOUT_SECONDS."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                for correlator, event in self._pending():
                    await self._write(correlator, event)
        except TimeoutError:
            logger.warning("some events were not recorded before the end")

    def _bucket(self, namespace: str) -> TokenBucket:
        if namespace not in self._buckets:
            self._buckets[namespace] = TokenBucket(NAMESPACE_TOKENS, NAMESPACE_REFILL_SECONDS, self._clock)
        return self._buckets[namespace]

    def _forget_full_buckets(self) -> None:
        """Forget the namespaces without servers for which nothing was written lately."""
        alive = {key.namespace for key in self._correlators}
        for namespace, bucket in list(self._buckets.items()):
            if namespace not in alive and bucket.is_full:
                del self._buckets[namespace]

    def _pending(self) -> Iterator[tuple[EventCorrelator, CorrelatedEvent]]:
        for correlator in list(self._correlators.values()):
            yield from ((correlator, event) for event in correlator.pending())

    async def _write(self, correlator: EventCorrelator, event: CorrelatedEvent) -> None:
        """Write the pending occurrences of an Event; after a failure they are pending again."""
        async with correlator.write_lock:
            added, event.pending = event.pending, 0
            try:
                if added:
                    event.count = await self._add(correlator, event, added)
            except ApiError as error:
                event.pending += added
                logger.warning(
                    "%s/%s: event %s was not recorded: %s", correlator.namespace, correlator.server, event.reason, error
                )

    async def _add(self, correlator: EventCorrelator, event: CorrelatedEvent, added: int) -> int:
        """Add occurrences to the Event; return its new count.

        The API server deletes Events after an hour: one that is gone is created again.
        """
        count = event.count
        if not count:
            try:
                return await self._create(correlator, event, added)
            except ApiError as error:
                if error.status != 409:
                    raise
            # An earlier operator process created it.
            live = await self._client.get(EVENT, correlator.namespace, event.name) or {}
            count = int(live.get("count") or 1)
        patch = {"count": count + added, "lastTimestamp": format_timestamp(event.last), "message": event.message}
        try:
            await self._client.merge_patch(EVENT, correlator.namespace, event.name, patch, MANAGER)
        except ApiError as error:
            if error.status != 404:
                raise
            return await self._create(correlator, event, added)
        return count + added

    async def _create(self, correlator: EventCorrelator, event: CorrelatedEvent, count: int) -> int:
        await self._client.create(EVENT, correlator.namespace, _body(correlator, event, count, self._kind))
        return count


def _body(correlator: EventCorrelator, event: CorrelatedEvent, count: int, kind: str) -> dict[str, Any]:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"namespace": correlator.namespace, "name": event.name},
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "count": count,
        "firstTimestamp": format_timestamp(event.first),
        "lastTimestamp": format_timestamp(event.last),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": os.environ.get("HOSTNAME", COMPONENT)[:128],
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": correlator.namespace,
            "name": correlator.server,
            "uid": correlator.uid,
        },
    }
