"""Decide which objects belong to a server. The operator never changes or deletes others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from vllm_operator.api.names import ANNOTATION_SERVER, GROUP, KIND, recommended_labels
from vllm_operator.kube.types import Object


class Owner(Protocol):
    """The VLLMServer that children belong to."""

    @property
    def namespace(self) -> str:
        """Return its namespace."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def uid(self) -> str:
        """Return its UID."""

    @property
    def key(self) -> str:
        """Return `namespace/name`."""


def is_child_of(live: Object, server: Owner) -> bool:
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


def _is_labelled(live: Object, server: Owner) -> bool:
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
