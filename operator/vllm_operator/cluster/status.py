"""Write the status subresource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.cluster.client import ApiClient
from vllm_operator.cluster.kinds import SERVER
from vllm_operator.cluster.store import Store
from vllm_operator.errors import ApiError


async def write_status(client: ApiClient, store: Store, metadata: Mapping[str, Any], status: Mapping[str, Any]) -> None:
    """Apply the whole status: fields that it no longer has are removed. A server that is gone is no error.

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
        store.put(SERVER.name, await client.apply(SERVER, body, subresource="status"))
    except ApiError as error:
        if error.status not in {404, 409}:
            raise
