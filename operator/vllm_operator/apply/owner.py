"""Whose is an object? What is not the server's is never touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from vllm_operator.api.names import ANNOTATION_SERVER, GROUP, KIND, recommended_labels
from vllm_operator.kube.types import Object


class Owner(Protocol):
    """The server whose children these are."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uid(self) -> str:
        """Its UID."""

    @property
    def key(self) -> str:
        """`namespace/name`."""


def is_ours(live: Object, server: Owner) -> bool:
    """True for a child of this server, or of a deleted one of the same name, such as a kept claim.

    One that lost its annotations is known by its labels: nobody else says that this operator manages it.
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


def is_owned(live: Object, server: Owner) -> bool:
    """True when this very server controls the object."""
    return any(owner.get("uid") == server.uid for owner in _controllers(live))


def _controllers(live: Object) -> Iterable[dict[str, Any]]:
    return (owner for owner in live["metadata"].get("ownerReferences") or () if owner.get("controller"))


def _is_our_kind(owner: dict[str, Any]) -> bool:
    return owner.get("kind") == KIND and str(owner.get("apiVersion")).startswith(f"{GROUP}/")


def is_terminating(live: Object) -> bool:
    """True while an object that was deleted is still there."""
    return bool(live["metadata"].get("deletionTimestamp"))
