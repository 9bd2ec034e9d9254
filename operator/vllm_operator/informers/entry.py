"""Pack one cached object: compressed JSON, and the few values that are read often."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vllm_operator.api.names import LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGER, UNREADABLE, child_name
from vllm_operator.informers.pod_fields import needed_pod
from vllm_operator.informers.tombstones import is_later
from vllm_operator.kube.codec import compress_json, parse_compressed, to_json
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, POD, SERVER
from vllm_operator.kube.managed_fields import SCALED_BY, foreign_entries, scale_managers
from vllm_operator.kube.ownership import controller_uid, is_replica_of
from vllm_operator.kube.raw_objects import STUB_METADATA
from vllm_operator.kube.types import Object
from vllm_operator.vllm.arguments import API_KEY

VOLATILE = frozenset({"resourceVersion", "generation"})
"""Metadata that change with every write."""

PROBED_VARIABLES = frozenset({API_KEY})
"""Environment variables of a pod that the probes read."""

MAX_STUB_STATUS_BYTES = 16 * 1024
"""Bytes of a status that a stub keeps."""


@dataclass(slots=True)
class Entry:
    """One object of the cache.

    Attributes:
        namespace: its namespace.
        name: its name.
        uid: its UID.
        version: its resource version.
        key: key of the VLLMServer that it belongs to; None for a foreign object.
        raw: the object as JSON, compressed where that saves memory.
        content_hash: hash of a child without its status. While it stays, the child need not be compared again.
        verified_hash: hash of the manifest that the object was found to match; empty before a comparison.
        phase: `status.phase` of a server; empty for other kinds, and before the first status.
        deleting: whether the object has a deletion timestamp.
        generation: `metadata.generation`.
        unlabelled: whether a child lacks the label that the watches and lists select.
        controller: UID of the controller of a child; empty without one.
        is_replica: whether a pod belongs to the Deployment of its server.
        is_stub: whether the object was not read as a whole.
    """

    namespace: str
    name: str
    uid: str
    version: str
    key: Key | None
    raw: bytes
    content_hash: int
    verified_hash: str = ""
    phase: str = ""
    deleting: bool = False
    generation: int = 0
    unlabelled: bool = False
    controller: str = ""
    is_replica: bool = False
    is_stub: bool = False

    @classmethod
    def of(cls, kind: str, body: Mapping[str, Any]) -> Entry:
        """Pack an object: a pod in short, others without the managed fields of the operator, which are half of them."""
        metadata = body["metadata"]
        trimmed = needed_pod(body, PROBED_VARIABLES) if kind == POD.name else _without_own_fields(body)
        key = key_of(kind, body)
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            version=str(metadata.get("resourceVersion", "")),
            key=key,
            raw=compress_json(trimmed),
            phase=sys.intern((body.get("status") or {}).get("phase") or "") if kind == SERVER.name else "",
            content_hash=_content_hash(trimmed) if kind in CHILD_KINDS else 0,
            deleting="deletionTimestamp" in metadata,
            generation=metadata.get("generation", 0),
            unlabelled=is_unlabelled(kind, body),
            controller=sys.intern(controller_uid(metadata)) if kind in CHILD_KINDS else "",
            is_replica=kind == POD.name and key is not None and is_replica_of(body, key.instance),
            is_stub=UNREADABLE in body,
        )

    def stub(self, reason: str) -> Entry:
        """Return the entry with a stub instead of its object. A small status stays: it holds the last reason."""
        body = self.body
        kept = {name: body[name] for name in ("apiVersion", "kind") if name in body}
        if (status := body.get("status")) and len(to_json(status)) <= MAX_STUB_STATUS_BYTES:
            kept["status"] = status
        metadata = {name: value for name, value in body["metadata"].items() if name in STUB_METADATA}
        return replace(
            self,
            raw=compress_json({**kept, "metadata": metadata, UNREADABLE: reason}),
            content_hash=0,
            verified_hash="",
            is_stub=True,
        )

    @property
    def body(self) -> Object:
        """Unpack the object; each call returns a new one."""
        return parse_compressed(self.raw)

    def is_older_than(self, uid: str, version: str) -> bool:
        """Return whether these are of a newer state, or of another object of the same name.

        A watch event may arrive after the answer to a write of the operator, and then brings an older state.

        Args:
            uid: the UID.
            version: the resource version.
        """
        if uid != self.uid:
            return True
        if version.isdigit() and self.version.isdigit():
            return is_later(version, self.version)
        return version != self.version


def _without_own_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    trimmed = {**body, "metadata": {**body["metadata"], "managedFields": foreign_entries(body)}}
    if by := scale_managers(body):
        trimmed["metadata"][SCALED_BY] = by
    return trimmed


def key_of(kind: str, body: Mapping[str, Any]) -> Key | None:
    """Return the key of the server that an object belongs to; None for a foreign object."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if kind == SERVER.name:
        return Key(namespace, child_name(metadata["name"]))
    instance = (metadata.get("labels") or {}).get(LABEL_INSTANCE)
    return Key(namespace, instance) if instance else None


def is_unlabelled(kind: str, body: Mapping[str, Any]) -> bool:
    """Return whether a child lacks the label that the watches and lists select."""
    return kind in CHILD_KINDS and (body["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) != MANAGER


def _content_hash(body: Mapping[str, Any]) -> int:
    stable = {name: value for name, value in body["metadata"].items() if name not in VOLATILE}
    return hash(to_json({**body, "metadata": stable, "status": None}))
