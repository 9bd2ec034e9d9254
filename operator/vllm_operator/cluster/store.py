"""The watch caches: what the API server said last, indexed by server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from vllm_operator.api.names import LABEL_INSTANCE, child_name
from vllm_operator.api.observed import Object
from vllm_operator.cluster.drift import foreign_entries
from vllm_operator.cluster.kinds import POD, SERVER


class Key(NamedTuple):
    """One server: its namespace and its instance label, which pods and children carry too."""

    namespace: str
    instance: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.instance}"


REMEMBERED_DEAD = 10_000


class Store:
    """Objects by kind, namespace and name, and by the server that they belong to."""

    def __init__(self) -> None:
        self._dead: dict[str, None] = {}
        """UIDs of deleted objects, oldest first: the answer to a write may come after the deletion's event."""
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._members: dict[Key, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))

    def put(self, kind: str, body: Mapping[str, Any]) -> bool:
        """Keep an object as it is now; False when the store holds this or a newer state, or knows it to be deleted."""
        metadata = body["metadata"]
        if metadata.get("uid") in self._dead:
            return False
        identity = (metadata.get("namespace", ""), metadata["name"])
        known = self._objects[kind].get(identity)
        if known is not None and not _is_newer(body, known):
            return False
        if known is not None:
            self._forget(kind, known)
        # Managed fields are half of an object; only what someone else owns is of interest.
        trimmed = {**body, "metadata": {**metadata, "managedFields": foreign_entries(body)}}
        self._objects[kind][identity] = trimmed
        if (key := key_of(kind, trimmed)) is not None:
            self._members[key][kind][metadata["name"]] = trimmed
        return True

    def remove(self, kind: str, body: Mapping[str, Any]) -> None:
        """Forget an object that was deleted, unless one of the same name has taken its place."""
        metadata = body["metadata"]
        self._bury(metadata)
        known = self._objects[kind].get((metadata.get("namespace", ""), metadata["name"]))
        if known is not None and known["metadata"].get("uid") == metadata.get("uid"):
            self._forget(kind, known)

    def uids(self, kind: str) -> frozenset[str]:
        """UIDs of all objects of a kind."""
        return frozenset(body["metadata"].get("uid", "") for body in self._objects[kind].values())

    def replace(self, kind: str, bodies: Iterable[Mapping[str, Any]], before: Set[str]) -> set[Key]:
        """Take over a complete list; returns the servers of which something changed or vanished.

        Args:
            kind: kind of the list.
            bodies: its objects.
            before: `uids` when the list was asked for; what came in since cannot have vanished.
        """
        listed = {(body["metadata"].get("namespace", ""), body["metadata"]["name"]): body for body in bodies}
        touched: set[Key] = set()
        for identity, known in list(self._objects[kind].items()):
            if identity not in listed and known["metadata"].get("uid", "") in before:
                touched |= {key for key in [key_of(kind, known)] if key}
                self._bury(known["metadata"])
                self._forget(kind, known)
        for body in listed.values():
            if self.put(kind, body):
                touched |= {key for key in [key_of(kind, body)] if key}
        return touched

    def server(self, key: Key) -> Object | None:
        """The VLLMServer of `key`."""
        return next(iter(self._group(key, SERVER.name).values()), None)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object."""
        return self._objects[kind].get((namespace, name))

    def of(self, key: Key, kind: str) -> list[Object]:
        """The objects of a kind that belong to the server."""
        return list(self._group(key, kind).values())

    def pods(self, key: Key) -> tuple[Object, ...]:
        """The pods of the server, by name."""
        pods = self._group(key, POD.name)
        return tuple(pods[name] for name in sorted(pods))

    def servers(self) -> list[Key]:
        """All servers."""
        return [Key(namespace, child_name(name)) for namespace, name in self._objects[SERVER.name]]

    def _group(self, key: Key, kind: str) -> dict[str, Object]:
        members = self._members.get(key)
        return members[kind] if members and kind in members else {}

    def _bury(self, metadata: Mapping[str, Any]) -> None:
        self._dead[metadata.get("uid", "")] = None
        while len(self._dead) > REMEMBERED_DEAD:
            del self._dead[next(iter(self._dead))]

    def _forget(self, kind: str, known: Object) -> None:
        metadata = known["metadata"]
        self._objects[kind].pop((metadata.get("namespace", ""), metadata["name"]), None)
        key = key_of(kind, known)
        if key is None or key not in self._members:
            return
        self._members[key][kind].pop(metadata["name"], None)
        if not any(self._members[key].values()):
            del self._members[key]


def key_of(kind: str, body: Mapping[str, Any]) -> Key | None:
    """The server that an object belongs to; None for a foreign one."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if kind == SERVER.name:
        return Key(namespace, child_name(metadata["name"]))
    instance = (metadata.get("labels") or {}).get(LABEL_INSTANCE)
    return Key(namespace, instance) if instance else None


def _is_newer(body: Mapping[str, Any], known: Object) -> bool:
    """True unless `body` is the same state or an older one: events may arrive after our own answer to a write."""
    new, old = body["metadata"], known["metadata"]
    if new.get("uid") != old.get("uid"):
        return True
    new_version, old_version = str(new.get("resourceVersion", "")), str(old.get("resourceVersion", ""))
    if new_version.isdigit() and old_version.isdigit():
        return int(new_version) > int(old_version)
    return new_version != old_version
