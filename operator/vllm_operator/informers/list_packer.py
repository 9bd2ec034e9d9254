"""Pack the objects of one list into entries of the cache, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from vllm_operator.api.names import UNREADABLE
from vllm_operator.informers.cache_budget import CacheBudget, UnreadLog
from vllm_operator.informers.entry import Entry
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.raw_objects import Raw, read_identity, read_object


class ListPacker:
    """Pack the objects of one list, within the budget of each namespace and of all.

    The budget is that of the objects which the caches do not hold already: no list may drop what they hold.

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
        known = self._known((identity.namespace, identity.name)) if identity else None
        if identity and known and not known.is_stub and (known.uid, known.version) == identity[2:]:
            return known
        entry = self._read(raw)
        if entry is None:
            return None
        if lack := self._budget.lack_of_place(entry.namespace):
            self._unread.log(self._kind.name, entry.namespace, entry.name, lack)
            return None
        if lack := self._budget.lack_of_bytes(entry.namespace, len(entry.raw)):
            entry = entry.stub(lack)
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
