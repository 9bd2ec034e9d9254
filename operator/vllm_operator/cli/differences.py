"""Compare rendered objects with those of a cluster, by a dry run of the operator's own server-side apply."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm_operator.api.names import ANNOTATION_HASH, MANAGER, child_name
from vllm_operator.cli.redaction import without_secrets
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import items, mapping, name_of
from vllm_operator.desired.drain import has_drain
from vllm_operator.kube.kinds import CHILD_KINDS, DEPLOYMENT, PRUNED_KINDS, Kind

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object

APPLY_PATCH = "application/apply-patch+yaml"

_OF_THE_API_SERVER = frozenset(
    {"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"}
)
"""Metadata that the API server writes."""


def differences(cluster: Cluster, server: str, objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a unified diff for each child that an apply of the operator would create, change or delete.

    Args:
        cluster: the cluster, with the namespace of the server.
        server: name of the server.
        objects: the rendered children.

    Raises:
        CallError: a right is missing, or the API server refuses an object.
    """
    rendered = {str(body.get("kind")): body for body in objects}
    changed = [diff for body in rendered.values() if (diff := _change(cluster, body))]
    return changed + [
        diff for kind in PRUNED_KINDS if kind.name not in rendered for diff in _deleted(cluster, server, kind)
    ]


def keeps_former_pods(cluster: Cluster, objects: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the operator keeps pods from before its draining middleware, because nothing else changes them.

    Args:
        cluster: the cluster, with the namespace of the server.
        objects: the children as they are rendered without the middleware.
    """
    deployment = next((body for body in objects if body.get("kind") == DEPLOYMENT.name), None)
    live = cluster.find(DEPLOYMENT, name_of(deployment)) if deployment is not None else None
    if deployment is None or live is None or has_drain(live):
        return False
    return mapping(_applied(cluster, DEPLOYMENT, deployment), "spec", "template") == mapping(live, "spec", "template")


def _change(cluster: Cluster, body: Mapping[str, Any]) -> str:
    kind = CHILD_KINDS[str(body.get("kind"))]
    live = cluster.find(kind, name_of(body))
    if live is None:
        return _unified(kind, name_of(body), None, _comparable(body))
    return _unified(kind, name_of(body), _comparable(live), _comparable(_applied(cluster, kind, body)))


def _applied(cluster: Cluster, kind: Kind, body: Mapping[str, Any]) -> Object:
    """Return an object as the API server would store it after an apply of the operator."""
    stored: Object = cluster.request(
        "PATCH",
        kind.path(cluster.namespace, name_of(body)),
        {"fieldManager": MANAGER, "force": "true", "dryRun": "All"},
        body,
        APPLY_PATCH,
    )
    return stored


def _deleted(cluster: Cluster, server: str, kind: Kind) -> Iterator[str]:
    """Return the diff of a child that the spec no longer asks for; a claim that is kept stays."""
    suffix = "cache" if kind.name == "PersistentVolumeClaim" else ""
    live = cluster.find(kind, child_name(server, suffix))
    if live is not None and _owner(live) == server:
        yield _unified(kind, name_of(live), _comparable(live), None)


def _owner(body: Mapping[str, Any]) -> str:
    owners = items(body, "metadata", "ownerReferences")
    return next((str(owner.get("name")) for owner in owners if owner.get("controller")), "")


def _comparable(body: Mapping[str, Any]) -> Object:
    """Return an object without its status, without what the API server writes, and without the hash of the apply."""
    metadata = {key: value for key, value in mapping(body, "metadata").items() if key not in _OF_THE_API_SERVER}
    annotations = {key: value for key, value in mapping(metadata, "annotations").items() if key != ANNOTATION_HASH}
    metadata.pop("annotations", None)
    metadata.pop("ownerReferences", None)
    rest = {key: value for key, value in body.items() if key not in {"status", "metadata"}}
    shown: Object = without_secrets(
        {**rest, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}
    )
    return shown


def _unified(kind: Kind, name: str, old: Any, new: Any) -> str:
    """Return a unified diff of two objects as YAML; empty when they are equal."""
    head = clean(f"{kind.name}/{name}")
    lines = difflib.unified_diff(
        _lines(old),
        _lines(new),
        f"cluster/{head}" if old else "/dev/null",
        f"manifest/{head}" if new else "/dev/null",
        n=3,
    )
    return "".join(lines)


def _lines(body: Any) -> list[str]:
    import yaml

    if body is None:
        return []
    text: str = yaml.safe_dump(body, sort_keys=True, allow_unicode=False, width=4096)
    return text.splitlines(keepends=True)
