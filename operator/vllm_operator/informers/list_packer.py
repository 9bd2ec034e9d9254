"""Pack the objects of one list into entries of the cache, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from vllm_operator.api.names import UNREADABLE
from vllm_operator.informers.cache_budget import TOO_MANY_BYTES, TOO_MANY_OBJECTS, CacheBudget, UnreadLog
from vllm_operator.informers.entry import Entry
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.raw_objects import Raw, read_identity, read_object


class ListPacker:
    """Pack the objects of one list, within the budget of each namespace.

    Args:
        kind: kind of the list.
        known: returns the entry of the cache by namespace and name.
        unread: logs the objects that are not read.
    """

    def __init__(self, kind: Kind, known: Callable[[tuple[str, str]], Entry | None], unread: UnreadLog) -> None:
        self._kind = kind
        self._known = known
        self._unread = unread
        self._budget = CacheBudget()

    def pack(self, raw: Raw) -> Entry | None:
        """Return the entry of an object; None for one that is not kept. An unchanged object is not parsed again."""
        identity = read_identity(raw)
        entry = self._known((identity.namespace, identity.name)) if identity else None
        if identity is None or entry is None or entry.is_stub or (entry.uid, entry.version) != identity[2:]:
            entry = self._read(raw)
        if entry is None:
            return None
        if not self._budget.has_place(entry.namespace):
            self._unread.log(self._kind.name, entry.namespace, entry.name, TOO_MANY_OBJECTS)
            return None
        if not self._budget.has_bytes(entry.namespace, len(entry.raw)):
            entry = entry.stub(TOO_MANY_BYTES)
        self._budget.add(entry.namespace, len(entry.raw))
        return entry

    def _read(self, raw: Raw) -> Entry | None:
        try:
            body = read_object(raw, self._kind)
        except ValueError as error:
            self._unread.log(self._kind.name, "", "without a readable name", str(error))
            return None
        # Items of a list carry neither kind nor version.
        body |= {"apiVersion": self._kind.api_version, "kind": self._kind.name}
        entry = Entry.of(self._kind.name, body)
        if entry.is_stub:
            self._unread.log(self._kind.name, entry.namespace, entry.name, str(body[UNREADABLE]))
        return entry
