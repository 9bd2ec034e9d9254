"""Remember the writes of one server's children, and decide from them whether another write is sent now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.apply.admission_memory import AdmissionMemory
from vllm_operator.apply.repair_limiter import RepairLimiter
from vllm_operator.apply.result import ApplyResult, conflict_note
from vllm_operator.apply.write_backoff import WriteBackoff
from vllm_operator.errors import ApiError, NotSentError
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

T = TypeVar("T")

NAMESPACE = ("Namespace", "")
"""Key for "the namespace is being deleted", which blocks every write of the server."""


class WriteHistory:
    """The earlier writes of one server's children.

    Args:
        repairs: the repairs of all servers' children. They are shared, since they expire by themselves.
        clock: monotonic time in seconds.

    Attributes:
        admission: the admission changes of the children.
        last_result: the last result of an apply without a failure.
    """

    __slots__ = ("_backoff", "_complete_uid", "_conflicts", "_names_taken", "_repairs", "admission", "last_result")

    def __init__(self, repairs: RepairLimiter, clock: Callable[[], float]) -> None:
        self._repairs = repairs
        self._backoff = WriteBackoff(clock)
        self._conflicts: dict[str, str] = {}
        """Messages about conflicts, by the name under which the repairs of the child are counted."""
        self._complete_uid = ""
        """UID of the server when it had all its children: a child that it lacks later was deleted."""
        self._names_taken: frozenset[tuple[str, str]] = frozenset()
        """Kind and name of other owners' objects: they are read before any write."""
        self.admission = AdmissionMemory(clock)
        self.last_result: ApplyResult | None = None

    def retry_failed(self) -> None:
        """Forget all failures, so that the next reconcile writes again: their common cause may be gone."""
        self._backoff.clear()

    def set_complete(self, uid: str) -> None:
        """Record that the server with this UID has all its children, except refused ones."""
        self._complete_uid = uid

    def was_complete(self, uid: str) -> bool:
        """Return whether the server with this UID has had all its children."""
        return self._complete_uid == uid

    def is_name_taken(self, kind: str, name: str) -> bool:
        """Return whether the last reconcile found another owner's object under the name of a child."""
        return (kind, name) in self._names_taken

    def set_name_taken(self, kind: str, name: str, *, taken: bool) -> None:
        """Record whether another owner's object has the name of a child."""
        child = frozenset({(kind, name)})
        self._names_taken = self._names_taken | child if taken else self._names_taken - child

    def namespace_error(self, uid: str) -> ApiError | None:
        """Return the refusal of a namespace that is being deleted, while it is too early to try again."""
        return self._backoff.recent_error(NAMESPACE, uid, "")

    def record_namespace_error(self, uid: str, error: ApiError) -> None:
        """Record the refusal of a namespace that is being deleted."""
        self._backoff.record_failure(NAMESPACE, uid, "", error)

    def recent_error(self, manifest: Manifest, uid: str) -> ApiError | None:
        """Return the error of this very write, while it is too early to send it again.

        Args:
            manifest: the manifest to apply.
            uid: UID of the live child; empty when there is none.
        """
        return self._backoff.recent_error((manifest.kind, manifest.name), manifest.hash, uid)

    def failure_count(self, manifest: Manifest) -> int:
        """Return how often the last write of the child has failed in a row."""
        return self._backoff.failure_count((manifest.kind, manifest.name))

    async def attempt(self, manifest: Manifest, uid: str, write: Awaitable[T]) -> T:
        """Await a write of the child with this UID, and record its success or failure.

        Raises:
            ApiError: the write failed.
        """
        child = (manifest.kind, manifest.name)
        try:
            result = await write
        except NotSentError:
            raise
        except ApiError as error:
            self._backoff.record_failure(child, manifest.hash, uid, error)
            raise
        self._backoff.record_success(child)
        return result

    def repair_delay(self, manifest: Manifest, live: Object | None, name: str) -> float:
        """Count a repair, and return 0; or return the seconds to wait, when the child was repaired too often.

        A write counts as a repair when the spec asks for nothing new. So does one that repeats the last write, such as
        for a child whose hash annotation another writer edits.

        Args:
            manifest: the manifest to apply.
            live: the live child; None after it was deleted.
            name: the name that counts its repairs: its UID, or after a deletion its kind, namespace and name.
        """
        is_repair = live is not None and was_applied_from(live, manifest)
        if not is_repair and not self._repairs.repeats_last_write(name, manifest.hash):
            return 0.0
        if delay := self._repairs.delay(name):
            return delay
        if self._repairs.has_conflict(name):
            self._conflicts[name] = conflict_note(manifest, live)
        return 0.0

    def record_repair(self, name: str, manifest: Manifest) -> None:
        """Record that a manifest was written to the child whose repairs are counted under this name."""
        self._repairs.record_write(name, manifest.hash)

    def record_delete(self, name: str, uid: str) -> None:
        """Record that the operator itself deleted a child: to create it again is no repair."""
        self._repairs.forget(name)
        self.admission.forget(uid)

    def conflicts(self) -> tuple[str, ...]:
        """Return the messages about the conflicts that still go on, sorted."""
        self._conflicts = {name: note for name, note in self._conflicts.items() if self._repairs.has_conflict(name)}
        return tuple(sorted(set(self._conflicts.values())))


def was_applied_from(live: Object, manifest: Manifest) -> bool:
    """Return whether the live object was applied from this very manifest, so that any difference is drift."""
    return (live["metadata"].get("annotations") or {}).get(ANNOTATION_HASH) == manifest.hash
