"""Limits of repair: what someone keeps changing, and what the API server itself makes of a manifest."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.api.observed import Object
from vllm_operator.cluster.alterations import altered_fields
from vllm_operator.errors import ApiError

BURST = 10
WINDOW_SECONDS = 60.0
FIGHT = 3
"""So many repairs within WINDOW_SECONDS are a fight, of which the user is told."""
REFUSAL_SECONDS = 25.0
"""Shorter than the pause after which a refused server is looked at again."""
FAILURE_SECONDS = 0.5
"""Never longer than the pause after which a failed server is looked at again."""
LONGEST_SECONDS = 300.0
ALTERED_SECONDS = 1800.0
"""How long it is taken for granted that admission would change an object again as it did."""


class RepairBudget:
    """At most BURST repairs of one object within WINDOW_SECONDS.

    An object has its UID for a name; one that is deleted again and again, and has another UID each time, its place.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: defaultdict[str, deque[float]] = defaultdict(deque)
        self._last: dict[str, tuple[str, float]] = {}
        """The manifest that was written last, by its hash, and when; the oldest comes first."""

    def wrote(self, name: str, applied: str) -> None:
        """Take note that the manifest with the hash `applied` was written to the object."""
        self._last.pop(name, None)
        self._last[name] = (applied, self._clock())

    def repeats(self, name: str, applied: str) -> bool:
        """Whether writing this manifest would only repeat what was written within WINDOW_SECONDS."""
        self._forget_old(self._clock())
        return self._last.get(name, ("", 0.0))[0] == applied

    def fights(self, name: str) -> bool:
        """Whether the object was repaired FIGHT times within WINDOW_SECONDS."""
        since = self._clock() - WINDOW_SECONDS
        return sum(moment > since for moment in self._repairs.get(name, ())) >= FIGHT

    def forget(self, name: str) -> None:
        """The object is no longer wanted: one of the name is another one."""
        self._last.pop(name, None)

    def take(self, name: str) -> float:
        """0 when the object may be repaired now, which counts; else the seconds until it may."""
        now = self._clock()
        self._forget_old(now)
        repairs = self._repairs[name]
        while repairs and repairs[0] <= now - WINDOW_SECONDS:
            repairs.popleft()
        if len(repairs) >= BURST:
            return repairs[0] + WINDOW_SECONDS - now
        repairs.append(now)
        return 0.0

    def _forget_old(self, now: float) -> None:
        for name in [name for name, repairs in self._repairs.items() if repairs[-1] <= now - WINDOW_SECONDS]:
            del self._repairs[name]
        while self._last and next(iter(self._last.values()))[1] <= now - WINDOW_SECONDS:
            del self._last[next(iter(self._last))]


@dataclass(frozen=True)
class _Failure:
    of: tuple[str, str]
    count: int
    until: float
    error: ApiError


class FailedWrites:
    """Writes for one server that failed: the same is sent again only after a growing, jittered pause.

    However often the server is looked at meanwhile. What was changed is sent at once.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failure] = {}

    def known(self, identity: tuple[str, str], applied: str, uid: str) -> ApiError | None:
        """Why the manifest with the hash `applied` failed for the object with `uid`, while it is not to be sent."""
        found = self._failures.get(identity)
        return found.error if found and found.of == (applied, uid) and self._clock() < found.until else None

    def count(self, identity: tuple[str, str]) -> int:
        """How often the last write of it has failed in a row."""
        found = self._failures.get(identity)
        return found.count if found else 0

    def note(self, identity: tuple[str, str], applied: str, uid: str, error: ApiError) -> None:
        """Remember a failure."""
        found = self._failures.get(identity)
        count = found.count + 1 if found and found.of == (applied, uid) else 1
        first = REFUSAL_SECONDS if error.is_refusal else FAILURE_SECONDS
        pause = min(first * 2 ** min(count - 1, 16), LONGEST_SECONDS) * random.uniform(0.6, 0.8)
        pause = max(pause, error.retry_after or 0.0)
        self._failures[identity] = _Failure((applied, uid), count, self._clock() + pause, error)

    def forget(self, identity: tuple[str, str]) -> None:
        """Forget what failed before: it went through."""
        self._failures.pop(identity, None)


class KnownAnswers:
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
            self._altered[uid] = altered_fields(manifest, answer)
            self._noted[uid] = self._clock()
        else:
            self.forget(uid)

    def forget(self, uid: str) -> None:
        """The object is gone, or says what its manifest says, whoever brought it there."""
        self._answers.pop(uid, None)
        self._altered.pop(uid, None)
        self._noted.pop(uid, None)

    def altered(self, uid: str) -> tuple[str, ...]:
        """Fields that the object holds otherwise than they were applied last."""
        return self._altered.get(uid, ())

    def is_old(self, uid: str) -> bool:
        """Whether the policy that changed the object may be gone by now: applying it again tells."""
        return bool(self._altered.get(uid)) and self._clock() - self._noted[uid] >= ALTERED_SECONDS

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
