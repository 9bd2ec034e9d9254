"""Events on the VLLMServer, for `kubectl describe`: what repeats is counted in one Event, and nothing floods."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from vllm_operator.api.names import API_VERSION, KIND, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_correlator import CorrelatedEvent, EventCorrelator
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import EVENT

COMPONENT = "vllm-operator"
PAUSE_SECONDS = 30.0
"""How often is looked for occurrences that were not written at once."""

STOP_SECONDS = 3.0

logger = logging.getLogger(__name__)


class EventRecorder:
    """Records events. An event is a courtesy: when it cannot be written, the log says so and nothing else fails.

    Written to the core API: `kubectl describe` sorts by `lastTimestamp`, which events.k8s.io does not take.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
    """

    def __init__(self, client: ApiClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._ledgers: dict[Key, EventCorrelator] = {}

    async def record(
        self,
        key: Key,
        metadata: Mapping[str, Any],
        kind: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        now: datetime,
    ) -> None:
        """Record that something happened to a server; at once unless too much has happened to it lately."""
        ledger = self._ledgers.get(key)
        if ledger is None or ledger.uid != metadata["uid"]:
            ledger = self._ledgers[key] = EventCorrelator(
                metadata["namespace"], metadata["name"], metadata["uid"], self._clock
            )
        occurrence = ledger.note(kind, reason, note, now)
        if ledger.may_write():
            await self._write(ledger, occurrence)

    def forget(self, key: Key) -> None:
        """Drop what is known of a server that is gone."""
        self._ledgers.pop(key, None)

    async def run(self) -> None:
        """Write what had to wait, until cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            for ledger, occurrence in self._waiting():
                if ledger.may_write():
                    await self._write(ledger, occurrence)

    async def finish(self) -> None:
        """Write all that waits before the process ends, so that every count is right; gives up after a moment."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                for ledger, occurrence in self._waiting():
                    await self._write(ledger, occurrence)
        except TimeoutError:
            logger.warning("some events were not recorded before the end")

    def _waiting(self) -> Iterator[tuple[EventCorrelator, CorrelatedEvent]]:
        for ledger in list(self._ledgers.values()):
            yield from ((ledger, occurrence) for occurrence in ledger.waiting())

    async def _write(self, ledger: EventCorrelator, occurrence: CorrelatedEvent) -> None:
        async with ledger.writing:
            times, occurrence.waiting = occurrence.waiting, 0
            try:
                if times:
                    occurrence.written = await self._written(ledger, occurrence, times)
            except ApiError as error:
                occurrence.waiting += times
                logger.warning("%s/%s: event %s was not recorded: %s", *ledger.names, occurrence.reason, error)

    async def _written(self, ledger: EventCorrelator, occurrence: CorrelatedEvent, times: int) -> int:
        """Count `times` more in the Event; returns its count. Events live an hour: one that is gone is made anew."""
        known = occurrence.written
        if not known:
            try:
                await self._client.create(EVENT, ledger.namespace, _event(ledger, occurrence, times))
                return times
            except ApiError as error:
                if error.status != 409:
                    raise
            # Of an operator before this one.
            live = await self._client.get(EVENT, ledger.namespace, occurrence.name) or {}
            known = int(live.get("count") or 1)
        news = {"count": known + times, "lastTimestamp": _stamp(occurrence.last), "message": occurrence.note}
        try:
            await self._client.merge_patch(EVENT, ledger.namespace, occurrence.name, news, MANAGER)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._client.create(EVENT, ledger.namespace, _event(ledger, occurrence, times))
            return times
        return known + times


def _event(ledger: EventCorrelator, occurrence: CorrelatedEvent, times: int) -> dict[str, Any]:
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"namespace": ledger.namespace, "name": occurrence.name},
        "type": occurrence.kind,
        "reason": occurrence.reason,
        "message": occurrence.note,
        "count": times,
        "firstTimestamp": _stamp(occurrence.first),
        "lastTimestamp": _stamp(occurrence.last),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": os.environ.get("HOSTNAME", COMPONENT)[:128],
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": ledger.namespace,
            "name": ledger.server,
            "uid": ledger.uid,
        },
    }


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
