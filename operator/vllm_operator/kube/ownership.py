"""Decide which objects belong to a server. The operator never changes or deletes others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from vllm_operator.api.names import ANNOTATION_SERVER, GROUP, KIND, recommended_labels, selector_labels
from vllm_operator.kube.fields import get_list, get_map, get_str
from vllm_operator.kube.types import Object

POD_TEMPLATE_HASH = "pod-template-hash"
"""Label that the Deployment controller sets on each ReplicaSet and its pods."""


class Named(Protocol):
    """A VLLMServer, of which the name is known."""

    @property
    def name(self) -> str:
        """Return its name."""


class Owner(Named, Protocol):
    """The VLLMServer that children belong to."""

    @property
    def namespace(self) -> str:
        """Return its namespace."""

    @property
    def uid(self) -> str:
        """Return its UID."""

    @property
    def key(self) -> str:
        """Return `namespace/name`."""


def is_child_of(live: Object, server: Named) -> bool:
    """Return whether an object is a child of this server, or of a deleted one of the same name, such as a kept claim.

    A child that lost its annotations is recognized by its labels: they name this operator as its manager.
    """
    metadata = live["metadata"]
    if any(_is_our_kind(owner) and owner.get("name") == server.name for owner in _controllers(live)):
        return True
    if any(_controllers(live)):
        return False
    annotated = (metadata.get("annotations") or {}).get(ANNOTATION_SERVER)
    return annotated == server.name or (annotated is None and _is_labelled(live, server))


def _is_labelled(live: Object, server: Named) -> bool:
    labels = live["metadata"].get("labels") or {}
    return recommended_labels(server.name).items() <= labels.items()


def is_controlled_by(live: Object, server: Owner) -> bool:
    """Return whether this very server is the controller of the object, by UID."""
    return any(owner.get("uid") == server.uid for owner in _controllers(live))


def _controllers(live: Object) -> Iterable[dict[str, Any]]:
    return (owner for owner in live["metadata"].get("ownerReferences") or () if owner.get("controller"))


def _is_our_kind(owner: dict[str, Any]) -> bool:
    return owner.get("kind") == KIND and str(owner.get("apiVersion")).startswith(f"{GROUP}/")


def is_terminating(live: Object) -> bool:
    """Return whether the object was deleted and still exists."""
    return bool(live["metadata"].get("deletionTimestamp"))


def is_replica_of(pod: Object, deployment: str) -> bool:
    """Return whether a pod belongs to the Deployment of this name: by its selector's labels, and by its ReplicaSet.

    ReplicaSets are not watched. But the Deployment controller names each one `<deployment>-<pod-template-hash>`, and a
    controller reference to that name holds: a ReplicaSet adopts a pod with its UID, and Kubernetes' garbage collector
    deletes a pod whose reference names an object with another UID. A forged reference lasts for seconds.

    Args:
        pod: the pod as the API server sends it.
        deployment: name of the Deployment, which is also the instance label of its pods.
    """
    labels = get_map(pod, "metadata", "labels")
    if not selector_labels(deployment).items() <= labels.items():
        return False
    replica_set = f"{deployment}-{get_str(labels, POD_TEMPLATE_HASH)}"
    return any(
        owner.get("controller") is True
        and get_str(owner, "kind") == "ReplicaSet"
        and get_str(owner, "apiVersion").partition("/")[0] in {"", "apps"}
        and get_str(owner, "name") == replica_set
        for owner in get_list(pod, "metadata", "ownerReferences")
    )


def controller_uid(metadata: Object) -> str:
    """Return the UID of the controller in the metadata of an object; empty without one."""
    owners = get_list(metadata, "ownerReferences")
    return next((get_str(owner, "uid") for owner in owners if owner.get("controller") is True), "")
