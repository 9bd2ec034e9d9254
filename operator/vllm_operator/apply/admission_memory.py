"""Remember admission changes, so that an apply that admission would change again is not repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.apply.admission_changes import fields_changed_by_admission
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

ADMISSION_RECHECK_SECONDS = 1800.0
"""Seconds after which the operator applies a changed object again, to see whether admission still changes it."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The object that the API server stored instead of a manifest.

    Attributes:
        manifest_hash: hash of the manifest.
        content: digest of the stored object.
        fields: paths of the fields that differ.
        at: time of the apply.
    """

    manifest_hash: str
    content: bytes
    fields: tuple[str, ...]
    at: float


class AdmissionMemory:
    """The children of one server that differ from their manifests right after an apply, by UID.

    The API server fills in empty fields of a pod template (`schedulerName: ""`), and admission webhooks change images.
    Without this memory every reconcile would apply the manifest again, and change nothing. Spec and the metadata of the
    manifest are compared: an edit of such a label by another writer is drift.

    Args:
        clock: monotonic time in seconds.
    """

    __slots__ = ("_changes", "_clock", "_uids")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changes: dict[str, _Change] = {}
        self._uids: dict[tuple[str, str], str] = {}
        """UID of the last object of each kind and name: what another one has replaced is forgotten."""

    def record(self, manifest_hash: str, manifest: Object, response: Object, *, differs: bool) -> None:
        """Remember the response to an apply of a manifest, if it differs from the manifest."""
        uid = response["metadata"].get("uid", "")
        place = get_str(manifest, "kind"), get_str(manifest, "metadata", "name")
        if self._uids.get(place, uid) != uid:
            self.forget(self._uids[place])
        self._uids[place] = uid
        if differs:
            fields = fields_changed_by_admission(manifest, response)
            self._changes[uid] = _Change(manifest_hash, _digest(manifest, response), fields, self._clock())
        else:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """Forget an object that is deleted, or that matches its manifest again."""
        self._changes.pop(uid, None)

    def changed_fields(self, uid: str) -> tuple[str, ...]:
        """Return the paths of the fields that admission changed when the object was applied last."""
        change = self._changes.get(uid)
        return change.fields if change else ()

    def needs_recheck(self, uid: str) -> bool:
        """Return whether the policy that changed the object may be gone, which only another apply shows."""
        change = self._changes.get(uid)
        return change is not None and bool(change.fields) and self._clock() - change.at >= ADMISSION_RECHECK_SECONDS

    def explains(self, manifest_hash: str, manifest: Object, live: Object) -> bool:
        """Return whether the live object is still as the API server stored it for this manifest with this hash."""
        uid = live["metadata"].get("uid", "")
        change = None if self.needs_recheck(uid) else self._changes.get(uid)
        return change is not None and (change.manifest_hash, change.content) == (manifest_hash, _digest(manifest, live))


def _digest(manifest: Object, body: Object) -> bytes:
    """Return a digest of the spec of an object, and of the metadata that the manifest holds too."""
    wanted, stored = manifest["metadata"], body["metadata"]
    maps = {
        name: {key: (stored.get(name) or {}).get(key) for key in wanted.get(name) or {}}
        for name in ("labels", "annotations")
    }
    uids = {owner["uid"] for owner in wanted.get("ownerReferences") or ()}
    owners = [owner for owner in stored.get("ownerReferences") or () if owner.get("uid") in uids]
    parts = {**maps, "owners": owners, "spec": body.get("spec")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
