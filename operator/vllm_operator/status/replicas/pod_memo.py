"""Remember the results that were computed from the pods of one server, until a pod changes or is gone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

Result = TypeVar("Result")

ENDS = "ends"
"""Name of the results about the end of a container, which outlast a change of the pod: the container's ID decides."""

BYTES_PER_POD = 16 * 1024
"""Memory for one pod at most: two messages of 1,024 characters, a diagnosis, and names."""


MIN_PODS = 64
"""Pods from which on all results are kept. For fewer, computing them again takes about 1 ms and saves the memory."""


@dataclass(slots=True)
class _PodResults:
    version: str
    results: dict[str, tuple[object, object]] = field(default_factory=dict)
    """Name of the result -> everything else that it depends on, and the result."""


class PodMemo:
    """Results by pod. A pod without a UID or a resource version has none, so each call computes its result."""

    __slots__ = ("_entries", "_keeps_all")

    def __init__(self) -> None:
        self._entries: dict[str, _PodResults] = {}
        self._keeps_all = True

    def recall(self, body: Object, name: str, compute: Callable[[], Result], depends_on: object = None) -> Result:
        """Return a result about a pod, computed again only when the pod or `depends_on` changed.

        Args:
            body: the pod.
            name: names the result among those about the pod.
            compute: returns the result.
            depends_on: everything but the pod that the result depends on.
        """
        metadata = body.get("metadata") or {}
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if not uid or not version or not (self._keeps_all or name == ENDS):
            return compute()
        entry = self._entries.get(uid)
        if entry is None or entry.version != version:
            entry = self._entries[uid] = _PodResults(version, _lasting(entry))
        known = entry.results.get(name)
        if known is None or known[0] != depends_on:
            known = entry.results[name] = (depends_on, compute())
        return known[1]  # type: ignore[return-value]

    def keep(self, bodies: Collection[Object]) -> None:
        """Forget the pods that are not among these, which are all pods of the server."""
        self._keeps_all = len(bodies) >= MIN_PODS
        if not self._entries:
            return
        uids = {get_str(body, "metadata", "uid") for body in bodies}
        for uid in self._entries.keys() - uids:
            del self._entries[uid]


def _lasting(entry: _PodResults | None) -> dict[str, tuple[object, object]]:
    return {ENDS: entry.results[ENDS]} if entry is not None and ENDS in entry.results else {}
