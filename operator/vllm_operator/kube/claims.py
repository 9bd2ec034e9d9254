"""Read the immutable fields of PersistentVolumeClaims."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


def with_immutable_claim_fields(manifest: Manifest, live: Object) -> Manifest:
    """Return the manifest of a claim with the immutable fields of the live one: class, access modes and their order.

    The hash does not change: a claim that got the default class needs no second write.
    """
    body = manifest.body
    immutable = {"accessModes": list(access_modes(live)) or None, "storageClassName": storage_class(live)}
    # An empty class counts as a class: it asks for a volume without a class.
    spec = {**body["spec"], **{name: value for name, value in immutable.items() if value is not None}}
    return replace(manifest, raw=compress_json({**body, "spec": spec}))


def is_exclusive(modes: Collection[str]) -> bool:
    """Return whether at most one node can mount a claim with these access modes."""
    return bool(modes) and not set(modes) & {"ReadWriteMany", "ReadOnlyMany"}


def storage_class(live: Object | None) -> str | None:
    """Return the class of a live claim; None when there is no claim, or it has no class."""
    name: str | None = (live or {}).get("spec", {}).get("storageClassName")
    return name


def access_modes(live: Object | None) -> tuple[str, ...]:
    """Return the access modes of a live claim; empty when there is no claim."""
    return tuple((live or {}).get("spec", {}).get("accessModes") or ())
