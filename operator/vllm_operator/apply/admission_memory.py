"""Remember admission changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from vllm_operator.apply.admission_changes import fields_changed_by_admission
from vllm_operator.kube.types import Object

ADMISSION_RECHECK_SECONDS = 1800.0
"""How long it is taken for granted that admission would change an object again as it did."""


class AdmissionMemory:
    """Objects that differ from their manifest right after it was applied.

    The API server fills in what a pod template leaves empty (`schedulerName: ""`), and admission webhooks change
    images: applying the same again would change nothing, and would be done at every pass. What the manifest says of an
    object's metadata counts, too: a label that someone edits beside it is an edit.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[str, bytes]] = {}
        self._altered: dict[str, tuple[str, ...]] = {}
        self._noted: dict[str, float] = {}
        """When the answers were given in which admission changed something."""

    def note(self, applied: str, manifest: Object, answer: Object, *, differs: bool) -> None:
        """Remember the answer to `manifest`, which has the hash `applied`, as long as it differs from it."""
        uid = answer["metadata"].get("uid", "")
        if differs:
            self._answers[uid] = (applied, _concerned(manifest, answer))
            self._altered[uid] = fields_changed_by_admission(manifest, answer)
            self._noted[uid] = self._clock()
        else:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """The object is gone, or says what its manifest says, whoever brought it there."""
        self._answers.pop(uid, None)
        self._altered.pop(uid, None)
        self._noted.pop(uid, None)

    def changed_fields(self, uid: str) -> tuple[str, ...]:
        """Fields that the object holds otherwise than they were applied last."""
        return self._altered.get(uid, ())

    def is_old(self, uid: str) -> bool:
        """Whether the policy that changed the object may be gone by now: applying it again tells."""
        return bool(self._altered.get(uid)) and self._clock() - self._noted[uid] >= ADMISSION_RECHECK_SECONDS

    def holds(self, wanted: str, manifest: Object, live: Object) -> bool:
        """True when `live` still is what came of `manifest`, which has the hash `wanted`."""
        uid = live["metadata"].get("uid", "")
        known = None if self.is_old(uid) else self._answers.get(uid)
        return known is not None and known == (wanted, _concerned(manifest, live))


def _concerned(manifest: Object, body: Object) -> bytes:
    """Hash of the spec of `body` and of what `manifest` says something about in its metadata."""
    wanted, found = manifest["metadata"], body["metadata"]
    maps = {
        name: {key: (found.get(name) or {}).get(key) for key in wanted.get(name) or {}}
        for name in ("labels", "annotations")
    }
    uids = {owner["uid"] for owner in wanted.get("ownerReferences") or ()}
    owners = [owner for owner in found.get("ownerReferences") or () if owner.get("uid") in uids]
    parts = {**maps, "owners": owners, "spec": body.get("spec")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
