"""Write the status subresource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.names import MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import SERVER


async def write_status(client: ApiClient, store: Store, metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Apply the whole status: fields that it no longer has are removed, whoever wrote them.

    False when the server is gone, which is no error.

    Raises:
        ApiError: the API server refused it, or did not answer.
    """
    body = {
        "apiVersion": SERVER.api_version,
        "kind": SERVER.name,
        # With its UID, the status cannot land on a new server of the same name.
        "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
        "status": status,
    }
    try:
        answer = await client.apply(SERVER, body, subresource="status")
        if foreign := beyond(status, answer.get("status") or {}):
            # An apply leaves what another manager added, such as a restored backup: it would stand for ever.
            version = {"uid": metadata["uid"], "resourceVersion": answer["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "status": foreign}
            answer = await client.merge_patch(
                SERVER, metadata["namespace"], metadata["name"], patch, MANAGER, subresource="status"
            )
        store.put(SERVER.name, answer)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def beyond(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `wanted` of `live`; empty when they are equal."""
    patch: dict[str, Any] = {name: None for name in live if name not in wanted}
    for name, value in wanted.items():
        found = live.get(name)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            patch |= {name: below} if (below := beyond(value, found)) else {}
        elif value != found:
            patch[name] = value
    return patch
