"""Read the Events of one object. They are not watched, because a cluster has very many."""

from __future__ import annotations

from typing import Any

import orjson

from vllm_operator.errors import ResponseTooLargeError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import EVENT
from vllm_operator.kube.raw_objects import Raw
from vllm_operator.kube.types import Object

MAX_EVENTS = 100
FEW_EVENTS = 10
"""Events that are read where MAX_EVENTS are too large together."""
MAX_EVENTS_BYTES = 2 * 1024 * 1024
"""Bytes of a list of Events. Any client may create one with a message of any length."""
MAX_EVENT_BYTES = 16 * 1024
"""Bytes of one Event; larger ones are left out."""
MAX_MESSAGE_CHARACTERS = 2048
"""Characters of the message of an Event, twice as many as Kubernetes' own components write."""


async def list_events_of(client: ApiClient, namespace: str, uid: str) -> list[Object]:
    """Return the Events of the object with this UID, in no order, at most MAX_EVENTS.

    Raises:
        ApiError: the Events cannot be read.
    """
    parameters = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(MAX_EVENTS)}
    path = EVENT.path(namespace)
    try:
        page = await client.list_page(path, parameters, MAX_EVENTS_BYTES)
    except ResponseTooLargeError:
        page = await client.list_page(path, {**parameters, "limit": str(FEW_EVENTS)}, MAX_EVENTS_BYTES)
    found = (_parse(item) for item in page.items) if page else ()
    return [event for event in found if event is not None]


def _parse(raw: Raw) -> dict[str, Any] | None:
    """Return an Event with its message cut; None for one that is too large or cannot be parsed."""
    if len(memoryview(raw)) > MAX_EVENT_BYTES:
        return None
    try:
        event = orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(event, dict):
        return None
    message = event.get("message")
    return {**event, "message": message[:MAX_MESSAGE_CHARACTERS]} if isinstance(message, str) else event
