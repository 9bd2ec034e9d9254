"""Fields of a child that change hands before the child is applied."""

from __future__ import annotations

from vllm_operator.api.names import ANNOTATION_HASH, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.managed_fields import OWNERSHIP_TRANSFER_MANAGER, adopted_managed_fields, operator_owns_replicas
from vllm_operator.kube.types import Object

CONFLICT_TRIES = 5


async def take_fields(client: ApiClient, kind: Kind, live: Object) -> None:
    """Take over what others wrote into the spec, so that applying the manifest removes it.

    Raises:
        ApiError: the object changes faster than it can be read.
    """
    if not live["metadata"].get("managedFields"):
        return
    for _ in range(CONFLICT_TRIES):
        current = await client.get(kind, live["metadata"]["namespace"], live["metadata"]["name"])
        if current is None or not _is_same(current, live) or await _adopt(client, kind, current):
            return
    raise ApiError(409, "Conflict", f"{kind.name} {live['metadata']['name']} changes faster than it can be read")


def _is_same(current: Object, live: Object) -> bool:
    """False for another object of the same name."""
    return bool(current["metadata"].get("uid") == live["metadata"].get("uid"))


async def _adopt(client: ApiClient, kind: Kind, current: Object) -> bool:
    """False when the object has changed since it was read: its controller writes its status all the time."""
    metadata = current["metadata"]
    patch = {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "managedFields": adopted_managed_fields(current),
            # Nothing is foreign any more. Without the hash whoever sees this object applies the manifest, also after
            # a crash between this write and the next.
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


def is_stopped(manifest: Object, live: Object) -> bool:
    """True for a Deployment whose replicas an autoscaler decides, and that somebody scaled to zero."""
    return "replicas" not in manifest["spec"] and (live.get("spec") or {}).get("replicas") == 0


async def hand_over_replicas(client: ApiClient, kind: Kind, live: Object) -> None:
    """Keep the number of replicas when the manifest no longer holds it, and leave no zero: an autoscaler takes over."""
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
        # An autoscaler does nothing while its target has no replica: zero would stay for ever.
        "spec": {"replicas": max(replicas, 1)},
    }
    await client.apply_as(OWNERSHIP_TRANSFER_MANAGER, kind, body)
