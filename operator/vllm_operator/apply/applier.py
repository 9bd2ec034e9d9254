"""Apply the children of a server, and prune those that its spec no longer asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Sequence, Set
from dataclasses import replace

from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_changes import summarize_admission_changes
from vllm_operator.apply.child_applier import ChildApplier
from vllm_operator.apply.repair_limiter import RepairLimiter
from vllm_operator.apply.result import (
    ApplyResult,
    ChildResult,
    Failed,
    KindGone,
    NameTaken,
    OwnerGone,
    Refused,
    Written,
    refusal_problem,
)
from vllm_operator.apply.write_history import WriteHistory
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, MONITORING_KINDS, OPTIONAL_KINDS, PRUNED_KINDS
from vllm_operator.kube.managed_fields import foreign_entries
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.ownership import Owner

logger = logging.getLogger(__name__)


class Applier:
    """Apply the children of servers: all children of one server at once, each with a `ChildApplier`.

    Args:
        client: the API client.
        store: the caches. They hold the live children, and receive every response.
        clock: monotonic time in seconds.
    """

    def __init__(self, client: ApiClient, store: Store, clock: Callable[[], float]) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._repairs = RepairLimiter(clock)

    def new_history(self) -> WriteHistory:
        """Return the empty write history of a new server."""
        return WriteHistory(self._repairs, self._clock)

    async def apply(
        self,
        key: Key,
        owner: Owner,
        history: WriteHistory,
        manifests: Sequence[Manifest],
        unknown_kinds: Container[str] = (),
    ) -> ApplyResult:
        """Apply every manifest that is new, changed or drifted, all at once, then prune the other children.

        After a failure nothing is pruned.

        Args:
            key: the key of the server.
            owner: the server.
            history: its earlier writes, which this call extends.
            manifests: all children that the spec asks for.
            unknown_kinds: kinds that the API server may not serve; their children are not pruned.

        Raises:
            ApiError: the namespace is being deleted. Also without a request, while the last refusal is recent.
        """
        if error := history.namespace_error(owner.uid):
            raise error
        pairs = await _apply_all(ChildApplier(self._client, self._store, key, owner, history), manifests)
        _raise_if_namespace_terminates(history, owner, pairs)
        if written := [manifest.kind for manifest, result in pairs if isinstance(result, Written)]:
            logger.info("%s: applied %s", key, ", ".join(written))
        if any(isinstance(result, OwnerGone) for _, result in pairs):
            return ApplyResult(owner_gone=True)
        if failed := next((result for _, result in pairs if isinstance(result, Failed)), None):
            return _with_failure(history, failed.error)
        history.set_complete(owner.uid)
        applied = self._summarize(pairs, owner, history)
        try:
            if not await self.prune(key, owner, history, manifests, unknown_kinds):
                return ApplyResult(owner_gone=True)
        except ApiError as error:
            return _with_failure(history, error)
        history.last_result = applied
        return applied

    async def prune(
        self,
        key: Key,
        owner: Owner,
        history: WriteHistory,
        manifests: Iterable[Manifest],
        unknown_kinds: Container[str] = (),
    ) -> bool:
        """Delete the children that the server owns and that no manifest asks for; a kept claim has no owner.

        Returns:
            False when the server is gone; the remaining children are then left to the garbage collector.

        Raises:
            ApiError: a delete failed.
        """
        wanted = {(manifest.kind, manifest.name) for manifest in manifests}
        children = ChildApplier(self._client, self._store, key, owner, history)
        for kind in (kind for kind in PRUNED_KINDS if kind.name not in unknown_kinds):
            for name in self._store.names(key, kind.name):
                if (kind.name, name) not in wanted and not await children.delete(kind, name):
                    return False
        return True

    def _summarize(
        self, pairs: Sequence[tuple[Manifest, ChildResult]], owner: Owner, history: WriteHistory
    ) -> ApplyResult:
        """Return the result for the server from those of its children."""
        written = [manifest for manifest, result in pairs if isinstance(result, Written)]
        uids = ((manifest, self._store.uid(manifest.kind, owner.namespace, manifest.name)) for manifest, _ in pairs)
        return ApplyResult(
            problems=_problems(pairs, CHILD_KINDS.keys() - _OPTIONAL),
            written=tuple(manifest.kind for manifest in written),
            edited_concurrently=tuple(m.kind for m in written if self._is_edited(m, owner.namespace)),
            monitoring_problems=_problems(pairs, MONITORING_KINDS),
            scaling_problems=_problems(pairs, _OPTIONAL - MONITORING_KINDS),
            conflicts=history.conflicts(),
            admission_changes=summarize_admission_changes(
                (manifest, history.admission.changed_fields(uid)) for manifest, uid in uids
            ),
            kinds_gone=tuple(manifest.kind for manifest, result in pairs if isinstance(result, KindGone)),
        )

    def _is_edited(self, manifest: Manifest, namespace: str) -> bool:
        """Return whether the cached child holds fields of another writer after our apply."""
        place = (manifest.kind, namespace, manifest.name)
        if self._store.verified_hash(*place) == manifest.hash:
            return False
        live = self._store.get(*place)
        return live is not None and bool(foreign_entries(live))


_OPTIONAL = frozenset(kind.name for kind in OPTIONAL_KINDS)


def _problems(pairs: Sequence[tuple[Manifest, ChildResult]], kinds: Set[str]) -> tuple[Problem, ...]:
    """Return the problems of the children of these kinds: the refusals first."""
    chosen = [(manifest, result) for manifest, result in pairs if manifest.kind in kinds]
    refused = [refusal_problem(manifest, result.error) for manifest, result in chosen if isinstance(result, Refused)]
    return (*refused, *(result.problem for _, result in chosen if isinstance(result, NameTaken)))


async def _apply_all(children: ChildApplier, manifests: Sequence[Manifest]) -> list[tuple[Manifest, ChildResult]]:
    """Apply all manifests at once; return each with its result.

    A defect in one child must not stop the others, so its exception is raised when all have ended.
    """
    ended = await asyncio.gather(*(children.apply(manifest) for manifest in manifests), return_exceptions=True)
    results: list[ChildResult] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return list(zip(manifests, results, strict=True))


def _raise_if_namespace_terminates(
    history: WriteHistory, owner: Owner, pairs: Iterable[tuple[Manifest, ChildResult]]
) -> None:
    """Raise the refusal of a namespace that is being deleted: Kubernetes deletes the server too, if not at first."""
    for _, result in pairs:
        if isinstance(result, Refused) and result.error.is_namespace_terminating:
            history.record_namespace_error(owner.uid, result.error)
            raise result.error


def _with_failure(history: WriteHistory, failure: ApiError) -> ApplyResult:
    """Return the last result of a server with the failure of this apply."""
    return replace(history.last_result or ApplyResult(), failure=failure, kinds_gone=())
