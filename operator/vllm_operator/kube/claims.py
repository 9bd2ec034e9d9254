"""Immutable fields of PersistentVolumeClaims."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


def with_immutable_claim_fields(manifest: Manifest, live: Object) -> Manifest:
    """The manifest of a claim with what the live one can never change: its class, its access modes and their order.

    The hash stays that of the spec alone: a claim that was given the default class needs no second write.
    """
    body = manifest.body
    kept = {"accessModes": list(access_modes(live)) or None, "storageClassName": storage_class(live)}
    # An empty class is one, too: it asks for a volume without any.
    spec = {**body["spec"], **{name: value for name, value in kept.items() if value is not None}}
    return replace(manifest, raw=compress_json({**body, "spec": spec}))


def is_exclusive(modes: Collection[str]) -> bool:
    """Whether one node at most may mount a claim with these access modes."""
    return bool(modes) and not set(modes) & {"ReadWriteMany", "ReadOnlyMany"}


def storage_class(live: Object | None) -> str | None:
    name: str | None = (live or {}).get("spec", {}).get("storageClassName")
    return name


def access_modes(live: Object | None) -> tuple[str, ...]:
    return tuple((live or {}).get("spec", {}).get("accessModes") or ())
