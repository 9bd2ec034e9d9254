"""Apply what the plan wants, remove what it no longer wants, and leave alone what is not ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Sequence

from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_changes import summarize_admission_changes
from vllm_operator.apply.child_applier import ChildApplier
from vllm_operator.apply.owner import Owner
from vllm_operator.apply.result import ApplyResult, is_final, refusal
from vllm_operator.apply.write_history import WriteHistory
from vllm_operator.errors import ApiError
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS
from vllm_operator.kube.managed_fields import foreign_entries
from vllm_operator.kube.manifest import Manifest

logger = logging.getLogger(__name__)


class Applier:
    """Writes the children of servers: all of one server at once, each by `ChildApplier`."""

    def __init__(self, client: ApiClient, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._attempts = WriteHistory(clock)
        self._writer = ChildApplier(client, store, self._attempts, clock)

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        self._attempts.forget(key)
        self._writer.forget(key)

    def retry_failed(self) -> None:
        """Send what failed at the next pass, however short a time ago: a common cause has passed."""
        self._attempts.retry_failed()

    async def apply(self, key: Key, server: Owner, manifests: Sequence[Manifest]) -> ApplyResult:
        """Apply every manifest that is new, changed or drifted, all at once.

        Raises:
            ApiError: a failure that may pass; refusals of single children are in the outcome instead.
                Where the namespace ends, its refusal: again, without a request, while it is too soon to try.
        """
        self._attempts.check_namespace(key, server)
        results = await asyncio.gather(
            *(self._writer.apply(key, server, manifest) for manifest in manifests), return_exceptions=True
        )
        self._check_namespace(key, server, results)
        pairs = list(zip(manifests, results, strict=True))
        written = [m for m, result in pairs if result is True]
        if written:
            logger.info("%s: applied %s", key, ", ".join(m.kind for m in written))
        for manifest, result in pairs:
            if isinstance(result, BaseException) and not is_final(manifest, result):
                raise result
        self._attempts.completed(key, server)
        refused = [(m, result) for m, result in pairs if isinstance(result, ApiError) and result.is_refusal]
        return ApplyResult(
            problems=(
                *(refusal(m, error) for m, error in refused if not CHILD_KINDS[m.kind].optional),
                *(result for result in results if isinstance(result, Problem)),
            ),
            written=tuple(m.kind for m in written),
            edited_concurrently=tuple(m.kind for m in written if self._is_edited(m, server.namespace)),
            monitoring_refusals=tuple(refusal(m, error) for m, error in refused if CHILD_KINDS[m.kind].optional),
            conflicts=self._attempts.conflicts(key),
            admission_changes=summarize_admission_changes(
                (m, self._writer.changed_fields(m, server.namespace)) for m in manifests
            ),
            kinds_gone=tuple(m.kind for m, result in pairs if isinstance(result, ApiError) and result.is_kind_gone),
        )

    def _check_namespace(self, key: Key, server: Owner, results: Iterable[object]) -> None:
        """Raise the refusal of a namespace that ends: Kubernetes deletes the server too, if not as the first."""
        for result in results:
            if isinstance(result, ApiError) and result.is_namespace_terminating:
                self._attempts.note_namespace(key, server, result)
                raise result

    def _is_edited(self, manifest: Manifest, namespace: str) -> bool:
        identity = (manifest.kind, namespace, manifest.name)
        if self._store.verified_hash(*identity) == manifest.hash:
            return False
        kept = self._store.get(*identity)
        return kept is not None and bool(foreign_entries(kept))

    async def prune(self, key: Key, server: Owner, manifests: Iterable[Manifest], spared: Container[str] = ()) -> None:
        """Delete children that the server owns and the plan does not want; a kept claim has no owner.

        Args:
            spared: kinds that the API server is not known to have, for which nothing was planned: that may be an error.
        """
        wanted = {(manifest.kind, manifest.name) for manifest in manifests}
        for kind in (kind for kind in CHILD_KINDS.values() if kind.name not in spared):
            for name in self._store.names(key, kind.name):
                if (kind.name, name) not in wanted:
                    await self._writer.remove(key, server, kind, name)
