"""Write the status subresource, and record the Events of its changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from vllm_operator.api.names import MANAGER
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


class StatusWriter:
    """Write the statuses of servers.

    Args:
        client: sends the writes.
        store: the caches, which receive every answer.
        events: records the Events.
    """

    def __init__(self, client: ApiClient, store: Store, events: EventRecorder) -> None:
        self._client = client
        self._store = store
        self._events = events

    async def write(self, key: Key, assessment: Assessment) -> bool:
        """Write the status of an assessment where it changed; return False when the server is gone.

        Args:
            key: the server's key.
            assessment: the assessment that the status is built from.

        Raises:
            ApiError: the API server refused the write, or did not answer.
        """
        status, inputs = build_status(assessment), assessment.inputs
        if not needs_write(inputs.previous, status):
            return True
        metadata = inputs.snapshot.server["metadata"]
        if not await self._apply(metadata, status):
            return False
        for event in status_events(inputs.previous, status):
            logger.info("%s: %s: %s", key, event.reason, event.note)
            await self._events.record(key, metadata, event.type, event.reason, event.note, inputs.now)
        return True

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
