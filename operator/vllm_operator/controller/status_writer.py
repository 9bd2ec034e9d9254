"""Write the status subresource, and record the Events of its changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from vllm_operator.api.names import MANAGER, UNREADABLE
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import SERVER
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.build import build_status, needs_write
from vllm_operator.status.events import status_events

logger = logging.getLogger(__name__)

UNREADABLE_WAIT_SECONDS = 1.0
"""Wait of a server that cannot be read while the status of another one is written."""
UNREADABLE_PAUSE_SECONDS = 120.0
"""Pause for all servers that cannot be read after one of their statuses could not be written. The time that the API
server takes for any write to an object grows with the square of its depth: 3 s for 9,000 levels on an idle machine
(Kubernetes 1.37), and it goes on after its answer 504, so that early retries would add up."""


class StatusWriter:
    """Write the statuses of servers.

    Args:
        client: sends the writes.
        store: the caches, which receive every answer.
        events: records the Events.
        monotonic: the clock of pauses, in seconds.
        on_status: called with each server and the status that was built for it, for metrics; None without them.
    """

    def __init__(
        self,
        client: ApiClient,
        store: Store,
        events: EventRecorder,
        monotonic: Callable[[], float] = time.monotonic,
        on_status: Callable[[Mapping[str, Any], Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._events = events
        self._monotonic = monotonic
        self._on_status = on_status
        self._is_writing_unreadable = False
        self._pause_until = 0.0

    def delay(self, server: Mapping[str, Any]) -> float | None:
        """Return the seconds that the status of this server has to wait; None for none.

        The statuses of servers that cannot be read are written one at a time: each may cost the API server seconds.
        """
        if UNREADABLE not in server:
            return None
        if self._is_writing_unreadable:
            return UNREADABLE_WAIT_SECONDS
        remaining = self._pause_until - self._monotonic()
        return remaining if remaining > 0 else None

    async def write(self, key: Key, assessment: Assessment) -> bool:
        """Write the status of an assessment where it changed; return False when the server is gone.

        Args:
            key: the server's key.
            assessment: the assessment that the status is built from.

        Raises:
            ApiError: the API server refused the write, or did not answer.
        """
        status, inputs = build_status(assessment), assessment.inputs
        if self._on_status is not None:
            self._on_status(inputs.snapshot.server, status)
        if not needs_write(inputs.previous, status):
            return True
        metadata = inputs.snapshot.server["metadata"]
        send = self._apply_unreadable if UNREADABLE in inputs.snapshot.server else self._apply
        if not await send(metadata, status):
            return False
        for event in status_events(inputs.previous, status):
            logger.info("%s: %s: %s", key, event.reason, event.note)
            await self._events.record(key, metadata, event.type, event.reason, event.note, inputs.now)
        return True

    async def _apply_unreadable(self, metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Apply the status of a server that cannot be read; pause them all after a failure."""
        self._is_writing_unreadable = True
        try:
            return await self._apply(metadata, status)
        except ApiError:
            self._pause_until = self._monotonic() + UNREADABLE_PAUSE_SECONDS
            raise
        finally:
            self._is_writing_unreadable = False

    async def _apply(self, metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
        """Apply the whole status: fields that it no longer has are removed, whichever manager wrote them."""
        body = {
            "apiVersion": SERVER.api_version,
            "kind": SERVER.name,
            # With the UID, the API server refuses the status for a new server of the same name.
            "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
            "status": status,
        }
        try:
            live = await self._client.apply(SERVER, body, subresource="status")
            if patch := status_merge_patch(status, live.get("status") or {}):
                # An apply keeps fields of other managers, such as those of a restored backup.
                precondition = {"uid": metadata["uid"], "resourceVersion": live["metadata"]["resourceVersion"]}
                live = await self._client.merge_patch(
                    SERVER,
                    metadata["namespace"],
                    metadata["name"],
                    {"metadata": precondition, "status": patch},
                    MANAGER,
                    subresource="status",
                )
            self._store.put(SERVER.name, live)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True


def status_merge_patch(desired: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7386) that turns `live` into `desired`; empty when they are equal."""
    patch: dict[str, Any] = {name: None for name in live if name not in desired}
    for name, value in desired.items():
        present = live.get(name)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            patch |= {name: nested} if (nested := status_merge_patch(value, present)) else {}
        elif value != present:
            patch[name] = value
    return patch
