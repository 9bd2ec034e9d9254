"""Keep of a pod what the operator reads: a quarter of its JSON.

A server may have 10,000 pods, which are parsed at once for a reconcile. Whole ones would take 25 KB each then, and a
collection of Python's garbage would stop the event loop for more than 100 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vllm_operator.api.names import UNREADABLE
from vllm_operator.kube.fields import get, get_list, get_map

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation by which a ReplicaSet chooses the pods that a scale-down removes; the only one that is read."""

_TOP = ("apiVersion", "kind", UNREADABLE)
_METADATA = (
    *("name", "namespace", "uid", "resourceVersion", "generation", "labels", "ownerReferences"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
)
_STATUS = ("phase", "reason", "message", "podIP", "startTime", "conditions")
_CONTAINER = ("name", "image", "args", "ports")
_CONTAINER_STATUS = ("name", "state", "lastState", "started", "ready", "restartCount")


def needed_pod(body: Mapping[str, Any], variables: frozenset[str]) -> dict[str, Any]:
    """Return a pod with the fields that the operator reads.

    Args:
        body: the pod, of which any field may be missing.
        variables: names of the environment variables that are read.
    """
    spec, status = get_map(body, "spec"), get_map(body, "status")
    result = _only(body, _TOP) | {"metadata": _only(get_map(body, "metadata"), _METADATA)}
    if cost := get(body, "metadata", "annotations", DELETION_COST):
        result["metadata"]["annotations"] = {DELETION_COST: cost}
    if spec:
        containers = [_container(container, variables) for container in get_list(spec, "containers")]
        result["spec"] = _only(spec, ("nodeName",)) | {"containers": containers}
    if status:
        lists = ("initContainerStatuses", "containerStatuses")
        states = {name: [_only(item, _CONTAINER_STATUS) for item in get_list(status, name)] for name in lists}
        result["status"] = _only(status, _STATUS) | {name: items for name, items in states.items() if items}
    return result


def _container(container: Mapping[str, Any], variables: frozenset[str]) -> dict[str, Any]:
    result = _only(container, _CONTAINER)
    if env := [item for item in get_list(container, "env") if item.get("name") in variables]:
        result["env"] = env
    if limit := get(container, "resources", "limits", "memory"):
        result["resources"] = {"limits": {"memory": limit}}
    return result


def _only(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}
