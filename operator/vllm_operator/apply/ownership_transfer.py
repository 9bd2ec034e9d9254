"""Transfer the ownership of fields before a child is applied."""

from __future__ import annotations

from vllm_operator.api.names import ANNOTATION_HASH, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.managed_fields import OWNERSHIP_TRANSFER_MANAGER, adopted_managed_fields, operator_owns_replicas
from vllm_operator.kube.types import Object

MAX_TRIES = 5
"""Reads of an object that changes all the time."""


async def take_ownership(client: ApiClient, kind: Kind, live: Object) -> None:
    """Make the operator the owner of all fields of the spec, so that its next apply removes those of other writers.

    Raises:
        ApiError: the object changes faster than it can be read.
    """
    if not live["metadata"].get("managedFields"):
        return
    for _ in range(MAX_TRIES):
        current = await client.get(kind, live["metadata"]["namespace"], live["metadata"]["name"])
        if current is None or not _is_same(current, live) or await _adopt_fields(client, kind, current):
            return
    raise ApiError(409, "Conflict", f"{kind.name} {live['metadata']['name']} changes faster than it can be read")


def _is_same(current: Object, live: Object) -> bool:
    """Return whether both are the same object, not another one of the same name."""
    return bool(current["metadata"].get("uid") == live["metadata"].get("uid"))


async def _adopt_fields(client: ApiClient, kind: Kind, current: Object) -> bool:
    """Adopt the fields of other managers; return False when the object has changed since it was read.

    That happens often, since the controller of the object writes its status.
    """
    metadata = current["metadata"]
    patch = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": adopted_managed_fields(current),
            # The managed fields no longer show the edit. Without the hash, any later reconcile applies the manifest,
            # also after a crash between this write and the next.
            "annotations": {ANNOTATION_HASH: None},
        }
    }
    try:
        await client.merge_patch(kind, metadata["namespace"], metadata["name"], patch, MANAGER)
    except ApiError as error:
        if error.status != 409:
            raise
        return False
    return True


def is_scaled_to_zero(manifest: Object, live: Object) -> bool:
    """Return whether an autoscaler decides the replicas of a Deployment that another writer scaled to zero."""
    return "replicas" not in manifest["spec"] and (live.get("spec") or {}).get("replicas") == 0


async def transfer_replicas(client: ApiClient, kind: Kind, live: Object) -> None:
    """Keep the replicas of a Deployment whose manifest leaves them to an autoscaler; raise 0 to 1.

    A field without an owner would fall back to 1.
    """
    metadata = live["metadata"]
    current = await client.get(kind, metadata["namespace"], metadata["name"])
    if current is None or not _is_same(current, live):
        return
    replicas = current["spec"].get("replicas")
    if replicas is None or (replicas > 0 and not operator_owns_replicas(current)):
        return
    body = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {name: metadata[name] for name in ("name", "namespace", "uid")},
        # An autoscaler ignores a target without replicas, so zero would stay.
        "spec": {"replicas": max(replicas, 1)},
    }
    await client.apply_as(OWNERSHIP_TRANSFER_MANAGER, kind, body)
