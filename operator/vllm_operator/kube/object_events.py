"""Read the Events of one object. They are not watched, because a cluster has very many."""

from __future__ import annotations

from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import EVENT
from vllm_operator.kube.types import Object

MAX_EVENTS = 100


async def list_events_of(client: ApiClient, namespace: str, uid: str) -> list[Object]:
    """Return the Events of the object with this UID, in no order, at most MAX_EVENTS.

    Raises:
        ApiError: the Events cannot be read.
    """
    parameters = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(MAX_EVENTS)}
    page = await client.list_page(EVENT.path(namespace), parameters)
    return list(page.get("items") or ())
