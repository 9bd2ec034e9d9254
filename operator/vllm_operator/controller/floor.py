"""Write a raised floor into the HorizontalPodAutoscaler, and read one that an earlier process raised."""

from __future__ import annotations

from dataclasses import replace

from vllm_operator.api.names import GROUP
from vllm_operator.api.replica_bounds import RaisedFloor, ReplicaBounds
from vllm_operator.apply.rollback import with_body
from vllm_operator.desired.state import DesiredState
from vllm_operator.kube.fields import format_timestamp, get, get_int, get_str, parse_time
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

ANNOTATION_RAISED = f"{GROUP}/min-replicas-raised-at"
"""Annotation of the autoscaler with the time at which `fastPath` raised its minReplicas (RFC 3339)."""

AUTOSCALER = "HorizontalPodAutoscaler"


def with_floor(desired: DesiredState, floor: RaisedFloor | None) -> DesiredState:
    """Return the desired state whose autoscaler has at least the raised floor."""
    if floor is None:
        return desired
    return replace(
        desired,
        manifests=tuple(_raised(one, floor) if one.kind == AUTOSCALER else one for one in desired.manifests),
    )


def _raised(manifest: Manifest, floor: RaisedFloor) -> Manifest:
    body = manifest.body
    spec = body["spec"]
    replicas = min(floor.replicas, spec["maxReplicas"])
    if replicas <= spec["minReplicas"]:
        return manifest
    spec["minReplicas"] = replicas
    annotations = {**body["metadata"].get("annotations", {}), ANNOTATION_RAISED: format_timestamp(floor.since)}
    body["metadata"]["annotations"] = annotations
    return with_body(manifest, body)


def raised_before(autoscaler: Object | None, bounds: ReplicaBounds) -> RaisedFloor | None:
    """Return the floor that a live autoscaler holds by its annotation; None without one above the bounds."""
    since = parse_time(get_str(get(autoscaler, "metadata", "annotations"), ANNOTATION_RAISED))
    replicas = min(get_int(autoscaler, "spec", "minReplicas"), bounds.max_replicas)
    if since is None or replicas <= max(bounds.min_replicas, 1):
        return None
    return RaisedFloor(replicas, since)
