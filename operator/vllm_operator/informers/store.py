"""The watch caches: what the API server said last, indexed by server."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGER, child_name
from vllm_operator.kube.codec import packed, squeezed, unsqueezed
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILDREN, POD, SERVER, UNREAD, Kind
from vllm_operator.kube.managed_fields import SCALED_BY, foreign_entries, scalers
from vllm_operator.kube.types import Object

REMEMBERED_DEAD = 10_000
PASSING = frozenset({"resourceVersion", "generation"})
"""Metadata that change with every write."""


@dataclass(slots=True)
class Entry:
    """One object: as compressed JSON, and what is asked of it often.

    Attributes:
        core: hash of all but the status of a child: one that only reports something needs no new comparison.
        verified: hash of the manifest that this very state was found to hold; empty before it was compared.
        phase: `status.phase` of a server; empty for other kinds, and before the first status.
        dying: whether it was deleted and is still there.
        generation: number of its spec.
        hidden: whether a child lacks the label that the watches and lists select.
    """

    namespace: str
    name: str
    uid: str
    version: str
    key: Key | None
    raw: bytes
    core: int
    verified: str = ""
    phase: str = ""
    dying: bool = False
    generation: int = 0
    hidden: bool = False

    @classmethod
    def of(cls, kind: str, body: Mapping[str, Any]) -> Entry:
        """Pack an object. Managed fields are half of it; only what someone else owns is of interest."""
        metadata = body["metadata"]
        trimmed = {**body, "metadata": {**metadata, "managedFields": foreign_entries(body)}}
        if by := scalers(body):
            trimmed["metadata"][SCALED_BY] = by
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            version=str(metadata.get("resourceVersion", "")),
            key=key_of(kind, body),
            raw=squeezed(trimmed),
            phase=sys.intern((body.get("status") or {}).get("phase") or "") if kind == SERVER.name else "",
            core=_core(trimmed) if kind in CHILDREN else 0,
            dying="deletionTimestamp" in metadata,
            generation=metadata.get("generation", 0),
            hidden=_lacks_label(kind, body),
        )

    @property
    def body(self) -> Object:
        """The object; a new one at each call."""
        return unsqueezed(self.raw)


def _lacks_label(kind: str, body: Mapping[str, Any]) -> bool:
    return kind in CHILDREN and (body["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) != MANAGER


def _core(body: Mapping[str, Any]) -> int:
    lasting = {name: value for name, value in body["metadata"].items() if name not in PASSING}
    return hash(packed({**body, "metadata": lasting, "status": None}))


class Store:
    """Objects by kind, namespace and name, and by the server that they belong to."""

    def __init__(self) -> None:
        self._dead: dict[str, str] = {}
        """UIDs of deleted objects, oldest first, and in which version they were gone; empty when that is not known.

        The answer to a write may come after the deletion's event. But what only lost the labels that the watch selects
        is told as deleted, too, and comes back in a later version.
        """
        self._objects: dict[str, dict[tuple[str, str], Entry]] = defaultdict(dict)
        self._members: dict[Key, dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
        self._versions: dict[str, set[str]] = defaultdict(set)
        """Resource versions of the objects, by kind."""

    def take(self, kind: str, event: str | None, body: Mapping[str, Any]) -> bool:
        """Take over one watch event; False when it tells nothing that a pass could act on."""
        if event == "DELETED":
            self.remove(kind, body)
            return True
        metadata = body["metadata"]
        return self.put(kind, body) and not (
            kind in UNREAD and self.verified(kind, metadata.get("namespace", ""), metadata["name"])
        )

    def put(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Keep an object as it is now; False when the store holds this or a newer state, or knows it to be deleted."""
        metadata = body["metadata"]
        gone = self._dead.get(metadata.get("uid", ""))
        version = str(metadata.get("resourceVersion", ""))
        # A deletion has a version of its own; what only lost its label is told as deleted in the version it then has.
        if gone is not None and not _is_later(version, gone) and not (version == gone and _lacks_label(kind, body)):
            return False
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and not _is_newer(metadata, known):
            return False
        entry = Entry.of(kind, body)
        if known is not None:
            self._forget(kind, known)
            if (entry.uid, entry.core) == (known.uid, known.core):
                entry.verified = known.verified
        self._objects[kind][entry.namespace, entry.name] = entry
        self._versions[kind].add(entry.version)
        if entry.key is not None:
            self._members[entry.key][kind][entry.name] = entry
        return True

    def remove(self, kind: str, body: Mapping[str, Any]) -> None:
        """Forget an object that was deleted, unless one of the same name has taken its place.

        Without a resource version of the deletion, nothing later brings it back. What is held without its label in the
        very version of the deletion was not deleted: the watch has lost sight of it.
        """
        metadata = body["metadata"]
        uid, version = metadata.get("uid", ""), str(metadata.get("resourceVersion", ""))
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and known.hidden and (known.uid, known.version) == (uid, version):
            return
        self._bury(uid, version)
        if known is not None and known.uid == uid:
            self._forget(kind, known)

    def uids(self, kind: str, namespace: str | None = None) -> frozenset[str]:
        """UIDs of the objects of a kind that a list of one namespace, or of all, is to show."""
        entries = self._objects[kind].values()
        near = (entry for entry in entries if namespace is None or entry.namespace == namespace)
        return frozenset(entry.uid for entry in near if not (entry.hidden and self._is_looked_at(entry)))

    def newest(self, kind: str) -> int:
        """The highest resource version among the objects of a kind; 0 where there is none."""
        return max((int(e.version) for e in self._objects[kind].values() if e.version.isdigit()), default=0)

    def replace(self, kind: str, bodies: Iterable[Mapping[str, Any]], before: Set[str], version: str = "") -> set[Key]:
        """Take over a complete list; returns the servers of which something changed or vanished.

        Args:
            kind: kind of the list.
            bodies: its objects.
            before: `uids` when the list was asked for; what came in since cannot have vanished.
            version: resource version of the list; a stale list does not know what is newer.
        """
        listed = {(body["metadata"].get("namespace", ""), body["metadata"]["name"]): body for body in bodies}
        touched: set[Key] = set()
        for identity, known in list(self._objects[kind].items()):
            body = listed.get(identity)
            if _is_later(known.version, version) and (body is None or body["metadata"].get("uid") != known.uid):
                listed.pop(identity, None)
            elif body is None and known.uid in before:
                touched |= {known.key} if known.key else set()
                self._bury(known.uid, version)
                self._forget(kind, known)
        for identity, body in listed.items():
            former = self.key(kind, *identity)
            if self.put(kind, body):
                touched |= {key for key in (former, key_of(kind, body)) if key}
        return touched

    def drop(self, kind: str) -> set[Key]:
        """Forget a kind that is not served; its objects may come back as they are. Returns the servers concerned."""
        known = list(self._objects[kind].values())
        for entry in known:
            self._forget(kind, entry)
        return {entry.key for entry in known if entry.key}

    def server(self, key: Key) -> Object | None:
        """The VLLMServer of `key`."""
        return next((entry.body for entry in self._group(key, SERVER.name).values()), None)

    def newest_server(self, body: Object) -> Object | None:
        """The VLLMServer of `body` as it is now: `body` itself while nothing newer is known, which costs nothing."""
        metadata = body["metadata"]
        entry = self._objects[SERVER.name].get((metadata["namespace"], metadata["name"]))
        if entry is not None and (entry.uid, entry.version) == (metadata["uid"], metadata.get("resourceVersion")):
            return body
        return entry.body if entry else None

    def holds(self, kind: Kind, version: str) -> bool:
        """Whether an object of a kind is held in this very resource version."""
        return bool(version) and version in self._versions[kind.name]

    def has_spec_of(self, body: Object) -> bool:
        """Whether the VLLMServer of `body` is still there and has still this spec."""
        metadata = body["metadata"]
        entry = self._objects[SERVER.name].get((metadata["namespace"], metadata["name"]))
        return entry is not None and (entry.uid, entry.generation) == (metadata["uid"], metadata.get("generation", 0))

    def is_living(self, key: Key, uid: str) -> bool:
        """Whether the VLLMServer of `key` is this very one, and is not being deleted."""
        entry = next(iter(self._group(key, SERVER.name).values()), None)
        return entry is not None and entry.uid == uid and not entry.dying

    def is_new(self, key: Key) -> bool:
        """Whether a server is there that has no status yet."""
        return any(not entry.phase for entry in self._group(key, SERVER.name).values())

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object."""
        entry = self._objects[kind].get((namespace, name))
        return entry.body if entry else None

    def key(self, kind: str, namespace: str, name: str) -> Key | None:
        """The server that an object belongs to, as far as is known; a label that someone edits makes it another one."""
        entry = self._objects[kind].get((namespace, name))
        return entry.key if entry else None

    def uid(self, kind: str, namespace: str, name: str) -> str:
        """UID of an object; empty when it is not there."""
        entry = self._objects[kind].get((namespace, name))
        return entry.uid if entry else ""

    def verified(self, kind: str, namespace: str, name: str) -> str:
        """Hash of the manifest that the object was found to hold as it is; empty when it was not compared."""
        entry = self._objects[kind].get((namespace, name))
        return entry.verified if entry else ""

    def verify(self, kind: str, namespace: str, name: str, digest: str) -> None:
        """Remember that the object as it is holds the manifest with this hash."""
        if (entry := self._objects[kind].get((namespace, name))) is not None:
            entry.verified = digest

    def is_hidden(self, kind: str, namespace: str, name: str) -> bool:
        """Whether an object lacks the label by which the watches would tell of it."""
        entry = self._objects[kind].get((namespace, name))
        return entry is not None and entry.hidden

    def names(self, key: Key, kind: str) -> list[str]:
        """Names of the objects of a kind that belong to the server."""
        return list(self._group(key, kind))

    def pods(self, key: Key) -> tuple[Object, ...]:
        """The pods of the server, by name."""
        pods = self._group(key, POD.name)
        return tuple(pods[name].body for name in sorted(pods))

    def servers(self) -> list[Key]:
        """All servers."""
        return [Key(namespace, child_name(name)) for namespace, name in self._objects[SERVER.name]]

    def counts(self) -> dict[str, int]:
        """Number of objects by kind."""
        return {kind: len(entries) for kind, entries in self._objects.items()}

    def phases(self) -> Counter[str]:
        """Number of servers by phase; `none` before the first status."""
        return Counter(entry.phase or "none" for entry in self._objects[SERVER.name].values())

    def _is_looked_at(self, entry: Entry) -> bool:
        """Whether a server may be there whose passes read what is hidden; without any label that cannot be told."""
        return entry.key is None or bool(self._group(entry.key, SERVER.name))

    def _group(self, key: Key, kind: str) -> dict[str, Entry]:
        members = self._members.get(key)
        return members[kind] if members and kind in members else {}

    def _bury(self, uid: str, version: str) -> None:
        self._dead[uid] = version
        while len(self._dead) > REMEMBERED_DEAD:
            del self._dead[next(iter(self._dead))]

    def _forget(self, kind: str, known: Entry) -> None:
        self._objects[kind].pop((known.namespace, known.name), None)
        self._versions[kind].discard(known.version)
        if known.key is None or known.key not in self._members:
            return
        self._members[known.key][kind].pop(known.name, None)
        if not any(self._members[known.key].values()):
            del self._members[known.key]


def key_of(kind: str, body: Mapping[str, Any]) -> Key | None:
    """The server that an object belongs to; None for a foreign one."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if kind == SERVER.name:
        return Key(namespace, child_name(metadata["name"]))
    instance = (metadata.get("labels") or {}).get(LABEL_INSTANCE)
    return Key(namespace, instance) if instance else None


def _is_newer(metadata: Mapping[str, Any], known: Entry) -> bool:
    """True unless this is the same state or an older one: events may arrive after our own answer to a write."""
    if metadata.get("uid", "") != known.uid:
        return True
    version = str(metadata.get("resourceVersion", ""))
    if version.isdigit() and known.version.isdigit():
        return _is_later(version, known.version)
    return version != known.version


def _is_later(version: str, other: str) -> bool:
    """True for a later resource version; those that are no numbers cannot be compared."""
    return version.isdigit() and other.isdigit() and int(version) > int(other)
