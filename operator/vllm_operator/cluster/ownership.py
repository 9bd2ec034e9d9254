"""Whose is an object? What is not the server's is never touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from vllm_operator.api.names import ANNOTATION_SERVER, KIND
from vllm_operator.api.observed import Object


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
    """True for a child of this server, or of a deleted one of the same name, such as a kept claim."""
    metadata = live["metadata"]
    if any(_is_our_kind(owner) and owner.get("name") == server.name for owner in _controllers(live)):
        return True
    annotations = metadata.get("annotations") or {}
    return not any(_controllers(live)) and annotations.get(ANNOTATION_SERVER) == server.name


def is_owned(live: Object, server: Owner) -> bool:
    """True when this very server controls the object."""
    return any(owner.get("uid") == server.uid for owner in _controllers(live))


def _controllers(live: Object) -> Iterable[dict[str, Any]]:
    return (owner for owner in live["metadata"].get("ownerReferences") or () if owner.get("controller"))


def _is_our_kind(owner: dict[str, Any]) -> bool:
    return owner.get("kind") == KIND


def is_terminating(live: Object) -> bool:
    """True while an object that was deleted is still there."""
    return bool(live["metadata"].get("deletionTimestamp"))
