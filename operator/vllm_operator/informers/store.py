"""Cache the objects that the watches report, indexed by kind, by name and by server."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Set
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.informers.entry import Entry, is_unlabelled, key_of
from vllm_operator.informers.snapshot import Parser, Snapshot, cache_claim_name
from vllm_operator.informers.tombstones import Tombstones, is_later
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CLAIM, DEPLOYMENT, KINDS_WITHOUT_READ_STATUS, POD, SERVER, Kind
from vllm_operator.kube.types import Object


class Store:
    """The cached objects by kind, namespace and name, and by the server that they belong to."""

    def __init__(self) -> None:
        self._tombstones = Tombstones()
        self._objects: dict[str, dict[tuple[str, str], Entry]] = defaultdict(dict)
        self._members: dict[Key, dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
        self._versions: dict[str, set[str]] = defaultdict(set)
        """Resource versions of the objects, by kind."""

    def process_watch_event(self, kind: str, event_type: str | None, body: Mapping[str, Any]) -> bool:
        """Process one watch event; return False when it needs no reconcile."""
        if event_type == "DELETED":
            self.remove(kind, body)
            return True
        metadata = body["metadata"]
        return self.put(kind, body) and not (
            kind in KINDS_WITHOUT_READ_STATUS
            and self.verified_hash(kind, metadata.get("namespace", ""), metadata["name"])
        )

    def put(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Store an object; return False when the store holds this or a newer state, or its deletion."""
        metadata = body["metadata"]
        uid, version = metadata.get("uid", ""), str(metadata.get("resourceVersion", ""))
        if self._tombstones.bars(uid, version, unlabelled=is_unlabelled(kind, body)):
            return False
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and not known.is_older_than(metadata):
            return False
        entry = Entry.of(kind, body)
        if known is not None:
            self._forget(kind, known)
            if (entry.uid, entry.content_hash) == (known.uid, known.content_hash):
                entry.verified_hash = known.verified_hash
        self._objects[kind][entry.namespace, entry.name] = entry
        self._versions[kind].add(entry.version)
        if entry.key is not None:
            self._members[entry.key][kind][entry.name] = entry
        return True

    def remove(self, kind: str, body: Mapping[str, Any]) -> None:
        """Forget a deleted object, unless another object has taken its name.

        When the deletion has no resource version, `put` accepts no later state of the object. A DELETED event of an
        unlabelled object in the version that the store holds is no deletion: the object only left the watch.
        """
        metadata = body["metadata"]
        uid, version = metadata.get("uid", ""), str(metadata.get("resourceVersion", ""))
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and known.unlabelled and (known.uid, known.version) == (uid, version):
            return
        self._tombstones.add(uid, version)
        if known is not None and known.uid == uid:
            self._forget(kind, known)

    def uids(self, kind: str, namespace: str | None = None) -> frozenset[str]:
        """Return the UIDs that a list of the kind in one namespace, or in all, is expected to hold."""
        entries = self._objects[kind].values()
        inside = (entry for entry in entries if namespace is None or entry.namespace == namespace)
        return frozenset(entry.uid for entry in inside if not (entry.unlabelled and self._may_be_read(entry)))

    def newest_version(self, kind: str) -> int:
        """Return the highest resource version among the objects of a kind; 0 where there is none."""
        return max((int(e.version) for e in self._objects[kind].values() if e.version.isdigit()), default=0)

    def replace(self, kind: str, bodies: Iterable[Mapping[str, Any]], before: Set[str], version: str = "") -> set[Key]:
        """Store a complete list; return the keys of the servers of which an object changed or vanished.

        Args:
            kind: kind of the list.
            bodies: its objects.
            before: `uids` when the list was requested; the list need not hold what came later.
            version: resource version of the list; a stale list does not hold what is newer.
        """
        listed = {(body["metadata"].get("namespace", ""), body["metadata"]["name"]): body for body in bodies}
        touched = self._remove_unlisted(kind, listed, before, version)
        for identity, body in listed.items():
            known = self._objects[kind].get(identity)
            if known is not None and known.uid != body["metadata"].get("uid") and is_later(known.version, version):
                continue  # The list is older than the object that has taken this name.
            former = self.key(kind, *identity)
            if self.put(kind, body):
                touched |= {key for key in (former, key_of(kind, body)) if key}
        return touched

    def drop(self, kind: str) -> set[Key]:
        """Forget a kind that is not served; return the keys of its servers. Its objects may come back as they are."""
        known = list(self._objects[kind].values())
        for entry in known:
            self._forget(kind, entry)
        return {entry.key for entry in known if entry.key}

    def snapshot(self, key: Key, earlier: Snapshot | None = None) -> Snapshot | None:
        """Return the objects of a server as they are now, parsed; None when it does not exist or is being deleted.

        Another server that has taken the name since an earlier snapshot does not count.

        Args:
            key: the server's key.
            earlier: the snapshot that the reconcile began with. Objects that have not changed since are taken from
                it instead of being parsed again, and its spec names the claim.
        """
        entry = self._living_server(key)
        if entry is None or (earlier and entry.uid != get_str(earlier.server, "metadata", "uid")):
            return None
        parse = Parser(earlier).parse
        server, pods = parse(entry), self._group(key, POD.name)

        def child(kind: str, name: str | None) -> Object | None:
            cached = self._objects[kind].get((key.namespace, name)) if name else None
            return parse(cached) if cached else None

        return Snapshot(
            server=server,
            deployment=child(DEPLOYMENT.name, key.instance),
            claim=child(CLAIM.name, cache_claim_name(earlier.server if earlier else server)),
            autoscaler=child("HorizontalPodAutoscaler", key.instance),
            pods=tuple(parse(pods[pod]) for pod in sorted(pods)),
        )

    def spec_version(self, key: Key) -> tuple[str, int] | None:
        """Return UID and generation of a server; None when it does not exist or is being deleted."""
        entry = self._living_server(key)
        return None if entry is None else (entry.uid, entry.generation)

    def has_version(self, kind: Kind, version: str) -> bool:
        """Return whether the store holds an object of the kind in this very resource version."""
        return bool(version) and version in self._versions[kind.name]

    def has_server(self, key: Key, uid: str) -> bool:
        """Return whether the VLLMServer of `key` has this UID and is not being deleted."""
        entry = self._living_server(key)
        return entry is not None and entry.uid == uid

    def lacks_status(self, key: Key) -> bool:
        """Return whether the server exists and has no status yet."""
        return any(not entry.phase for entry in self._group(key, SERVER.name).values())

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return one object, parsed."""
        entry = self._objects[kind].get((namespace, name))
        return entry.body if entry else None

    def key(self, kind: str, namespace: str, name: str) -> Key | None:
        """Return the key of the server that a cached object belongs to; it changes when a user edits the label."""
        entry = self._objects[kind].get((namespace, name))
        return entry.key if entry else None

    def uid(self, kind: str, namespace: str, name: str) -> str:
        """Return the UID of an object; empty when it does not exist."""
        entry = self._objects[kind].get((namespace, name))
        return entry.uid if entry else ""

    def verified_hash(self, kind: str, namespace: str, name: str) -> str:
        """Return the hash of the manifest that the object was found to match; empty before a comparison."""
        entry = self._objects[kind].get((namespace, name))
        return entry.verified_hash if entry else ""

    def mark_verified(self, kind: str, namespace: str, name: str, manifest_hash: str) -> None:
        """Remember that the object in its present state matches the manifest with this hash."""
        if (entry := self._objects[kind].get((namespace, name))) is not None:
            entry.verified_hash = manifest_hash

    def is_unlabelled(self, kind: str, namespace: str, name: str) -> bool:
        """Return whether an object lacks the label that the watches select, so that they do not report it."""
        entry = self._objects[kind].get((namespace, name))
        return entry is not None and entry.unlabelled

    def names(self, key: Key, kind: str) -> list[str]:
        """Return the names of the objects of a kind that belong to the server."""
        return list(self._group(key, kind))

    def servers(self) -> list[Key]:
        """Return the keys of all servers."""
        return [Key(namespace, child_name(name)) for namespace, name in self._objects[SERVER.name]]

    def counts(self) -> dict[str, int]:
        """Return the number of objects by kind."""
        return {kind: len(entries) for kind, entries in self._objects.items()}

    def phases(self) -> Counter[str]:
        """Return the number of servers by phase; `none` before the first status."""
        return Counter(entry.phase or "none" for entry in self._objects[SERVER.name].values())

    def _remove_unlisted(
        self, kind: str, listed: Container[tuple[str, str]], before: Set[str], version: str
    ) -> set[Key]:
        """Forget the objects that a list lacks, unless they are newer; return the keys of their servers."""
        touched: set[Key] = set()
        for identity, known in list(self._objects[kind].items()):
            if identity in listed or known.uid not in before or is_later(known.version, version):
                continue
            touched |= {known.key} if known.key else set()
            self._tombstones.add(known.uid, version)
            self._forget(kind, known)
        return touched

    def _may_be_read(self, entry: Entry) -> bool:
        """Return whether some server's reconcile may read this unlabelled object; True when its server is unknown."""
        return entry.key is None or bool(self._group(entry.key, SERVER.name))

    def _living_server(self, key: Key) -> Entry | None:
        entry = next(iter(self._group(key, SERVER.name).values()), None)
        return None if entry is None or entry.deleting else entry

    def _group(self, key: Key, kind: str) -> dict[str, Entry]:
        members = self._members.get(key)
        return members[kind] if members and kind in members else {}

    def _forget(self, kind: str, known: Entry) -> None:
        self._objects[kind].pop((known.namespace, known.name), None)
        self._versions[kind].discard(known.version)
        if known.key is None or known.key not in self._members:
            return
        self._members[known.key][kind].pop(known.name, None)
        if not any(self._members[known.key].values()):
            del self._members[known.key]
