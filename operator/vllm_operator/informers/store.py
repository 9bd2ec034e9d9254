"""Cache the objects that the watches report, indexed by kind, by name and by server."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Set
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.informers.cache_budget import CacheBudget, UnreadLog
from vllm_operator.informers.entry import Entry, is_unlabelled
from vllm_operator.informers.list_packer import ListPacker
from vllm_operator.informers.snapshot import Cached, Parser, Snapshot, cache_claim_name
from vllm_operator.informers.tombstones import Tombstones, is_later
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import (
    CHILD_KINDS,
    CLAIM,
    DEPLOYMENT,
    KINDS_WITHOUT_READ_STATUS,
    POD,
    SCALED_OBJECT,
    SERVER,
    Kind,
)
from vllm_operator.kube.ownership import is_child_of
from vllm_operator.kube.raw_objects import Raw
from vllm_operator.kube.types import Object


class Store:
    """The cached objects by kind, namespace and name, and by the server that they belong to."""

    def __init__(self) -> None:
        self._tombstones = Tombstones()
        self._objects: dict[str, dict[tuple[str, str], Entry]] = defaultdict(dict)
        self._members: dict[Key, dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
        self._budget = CacheBudget()
        self._unread = UnreadLog()
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
        if self._tombstones.bars(metadata.get("namespace", ""), uid, version, unlabelled=is_unlabelled(kind, body)):
            return False
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and not known.is_older_than(uid, version):
            return False
        return self._add(kind, Entry.of(kind, body), known)

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
        self._tombstones.add(metadata.get("namespace", ""), uid, version)
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

    def packer(self, kind: Kind) -> Callable[[Raw], Entry | None]:
        """Return the function that packs each object of a list of the kind; None for one that is not kept."""
        return ListPacker(kind, self._objects[kind.name].get, self._unread).pack

    def replace(self, kind: str, entries: Iterable[Entry], before: Set[str], version: str = "") -> Iterator[Key | None]:
        """Take over a complete list, an object at each step; yield the key of the server where it changed or vanished.

        Watch events may be processed between two steps: each step looks at the object as it is then. The list is taken
        over when the iterator has ended.

        Args:
            kind: kind of the list.
            entries: its objects, packed.
            before: `uids` when the list was requested; the list need not hold what came later.
            version: resource version of the list; a stale list does not hold what is newer.
        """
        listed = {(entry.namespace, entry.name): entry for entry in entries}
        for identity in list(self._objects[kind]):
            known = self._objects[kind].get(identity)
            if known is not None and self._is_unlisted(known, listed, before, version):
                self._tombstones.add(known.namespace, known.uid, version)
                self._forget(kind, known)
                yield known.key
            else:
                yield None
        for identity, entry in listed.items():
            known = self._objects[kind].get(identity)
            if self._is_news(entry, known, version) and self._add(kind, entry, known):
                if known is not None and known.key != entry.key:
                    yield known.key
                yield entry.key
            else:
                yield None

    def drop(self, kind: str) -> set[Key]:
        """Forget a kind that is not served; return the keys of its servers. Its objects may come back as they are."""
        known = list(self._objects[kind].values())
        for entry in known:
            self._forget(kind, entry)
        return {entry.key for entry in known if entry.key}

    def replicas(self, key: Key) -> list[Cached]:
        """Return the pods of a server's Deployment, unparsed."""
        return [pod for pod in self._group(key, POD.name).values() if pod.is_replica]

    def snapshot(self, key: Key, earlier: Snapshot | None = None, parsed: Iterable[Object] = ()) -> Snapshot | None:
        """Return the objects of a server as they are now, parsed; None when it does not exist or is being deleted.

        Another server that has taken the name since an earlier snapshot does not count.

        Args:
            key: the server's key.
            earlier: the snapshot that the reconcile began with. Objects that have not changed since are taken from
                it instead of being parsed again, and its spec names the claim.
            parsed: objects that were parsed a moment ago, and are taken where they have not changed.
        """
        entry = self._living_server(key)
        if entry is None or (earlier and entry.uid != get_str(earlier.server, "metadata", "uid")):
            return None
        parse = Parser(earlier, parsed).parse
        server, pods = parse(entry), self._group(key, POD.name)

        def cached(kind: str, name: str | None) -> Object | None:
            found = self._objects[kind].get((key.namespace, name)) if name else None
            return parse(found) if found else None

        def child(kind: str) -> Object | None:
            found = cached(kind, key.instance)
            return found if found is not None and is_child_of(found, entry) else None

        return Snapshot(
            server=server,
            deployment=child(DEPLOYMENT.name),
            claim=cached(CLAIM.name, cache_claim_name(earlier.server if earlier else server)),
            autoscaler=child("HorizontalPodAutoscaler"),
            scaled_object=child(SCALED_OBJECT),
            pods=tuple(parse(pods[name]) for name in sorted(pods) if pods[name].is_replica),
            standing=frozenset(kind for kind in CHILD_KINDS if self._has_child(key, kind, entry.uid)),
        )

    def namesakes(self, key: Key) -> list[Object]:
        """Return the servers that would have the names of another server's children, so that they get none."""
        first = self._living_server(key)
        others = (entry for entry in self._group(key, SERVER.name).values() if entry is not first)
        return [entry.body for entry in others if not entry.deleting]

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

    def pod_count(self, key: Key) -> int:
        """Return the number of pods with the label of a server, whoever owns them."""
        return len(self._group(key, POD.name))

    def names(self, key: Key, kind: str) -> list[str]:
        """Return the names of the objects of a kind that belong to the server."""
        return list(self._group(key, kind))

    def servers(self) -> list[Key]:
        """Return the keys of all servers."""
        return [Key(namespace, child_name(name)) for namespace, name in self._objects[SERVER.name]]

    def server_names(self, namespace: str) -> list[str]:
        """Return the names of the servers of a namespace that are not being deleted."""
        servers = self._objects[SERVER.name].values()
        return [entry.name for entry in servers if entry.namespace == namespace and not entry.deleting]

    def servers_in(self, namespace: str) -> list[Object]:
        """Return the VLLMServers of a namespace, parsed, sorted by name."""
        found = self._objects[SERVER.name]
        return [found[place].body for place in sorted(found) if place[0] == namespace]

    def counts(self) -> dict[str, int]:
        """Return the number of objects by kind."""
        return {kind: len(entries) for kind, entries in self._objects.items()}

    def phases(self) -> Counter[str]:
        """Return the number of servers by phase; `none` before the first status."""
        return Counter(entry.phase or "none" for entry in self._objects[SERVER.name].values())

    @staticmethod
    def _is_unlisted(known: Entry, listed: Container[tuple[str, str]], before: Set[str], version: str) -> bool:
        """Return whether a list lacks an object that is no newer than it."""
        missing = (known.namespace, known.name) not in listed and known.uid in before
        return missing and not is_later(known.version, version)

    def _may_be_read(self, entry: Entry) -> bool:
        """Return whether some server's reconcile may read this unlabelled object; True when its server is unknown."""
        return entry.key is None or bool(self._group(entry.key, SERVER.name))

    def _living_server(self, key: Key) -> Entry | None:
        """Return the server that has the children of a key.

        Two servers share a key when one is named as the children of the other, whose longer name is shortened. The one
        that controls the Deployment stays; before there is any, the one whose name is the key's.
        """
        servers = self._group(key, SERVER.name)
        if len(servers) < 2:
            entry = next(iter(servers.values()), None)
            return None if entry is None or entry.deleting else entry
        deployment = self._objects[DEPLOYMENT.name].get((key.namespace, key.instance))
        owner = deployment.controller if deployment else ""
        living = [entry for entry in servers.values() if not entry.deleting]
        return min(living, key=lambda entry: (entry.uid != owner, entry.name != key.instance, entry.name), default=None)

    def _has_child(self, key: Key, kind: str, uid: str) -> bool:
        """Return whether a child that the server with this UID controls exists and is not being deleted."""
        return any(child.controller == uid and not child.deleting for child in self._group(key, kind).values())

    def _group(self, key: Key, kind: str) -> dict[str, Entry]:
        members = self._members.get(key)
        return members[kind] if members and kind in members else {}

    def _is_news(self, entry: Entry, known: Entry | None, version: str) -> bool:
        """Return whether a list in this version brings a state that is newer than the known one."""
        if self._tombstones.bars(entry.namespace, entry.uid, entry.version, unlabelled=entry.unlabelled):
            return False
        if known is None:
            return True
        if known.uid != entry.uid and is_later(known.version, version):
            return False  # The list is older than the object that has taken this name.
        return known.is_older_than(entry.uid, entry.version) or (known.is_stub and not entry.is_stub)

    def _add(self, kind: str, entry: Entry, known: Entry | None) -> bool:
        """Store an entry in place of the known one, within the budget of its namespace."""
        namespace = entry.namespace
        if known is not None:
            self._forget(kind, known)
            if (entry.uid, entry.content_hash) == (known.uid, known.content_hash):
                entry.verified_hash = known.verified_hash
        if lack := self._budget.lack_of_place(namespace):
            self._unread.log(kind, namespace, entry.name, lack)
            return known is not None
        if lack := self._budget.lack_of_bytes(namespace, len(entry.raw)):
            self._unread.log(kind, namespace, entry.name, lack)
            entry = entry.stub(lack)
        self._budget.add(namespace, len(entry.raw))
        self._objects[kind][namespace, entry.name] = entry
        self._versions[kind].add(entry.version)
        if entry.key is not None:
            self._members[entry.key][kind][entry.name] = entry
        return True

    def _forget(self, kind: str, known: Entry) -> None:
        if self._objects[kind].pop((known.namespace, known.name), None) is not None:
            self._budget.remove(known.namespace, len(known.raw))
        self._versions[kind].discard(known.version)
        if known.key is None or known.key not in self._members:
            return
        self._members[known.key][kind].pop(known.name, None)
        if not any(self._members[known.key].values()):
            del self._members[known.key]
