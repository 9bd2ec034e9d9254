"""Check that the objects that a spec refers to exist, and that its author may use them.

Secrets, claims and namespaces are read by name, never listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vllm_operator.api.problem import Problem
from vllm_operator.controller.reference_cache import FOUND_SECONDS, MISSING_SECONDS, CachedRead, ReferenceCache
from vllm_operator.controller.tenant_rules import (
    FREE_RULES,
    TenantRules,
    namespace_is_free,
    namespace_releases_secrets,
    secret_problem,
    too_many_secrets,
)
from vllm_operator.desired.state import NO_RIGHTS_CLAIMED, RightsClaimed
from vllm_operator.errors import NoAnswerError
from vllm_operator.kube.claims import is_exclusive
from vllm_operator.kube.client import ApiClient
from vllm_operator.validation.references import Reference
from vllm_operator.validation.secret_references import MAX_SECRETS, SecretReference

READS_AT_ONCE = 4
"""Objects of one server that are read at once."""

CHECK_SECONDS = 60.0
"""Seconds that a check may take. A spec may name over a hundred objects, and each call has its own timeout of 20 s; the
liveness check ends a process whose reconcile takes 300 s. What was read until then is kept for the next attempt."""


@dataclass(frozen=True)
class ReferenceCheck:
    """The result of a check.

    Attributes:
        missing: reasons to refuse the server: objects and keys that are missing or unreadable, Secrets that nobody
            released, and parts of the pod template that this namespace does not allow. Each names field and remedy.
        warnings: remarks on claims that several pods use and only one node can mount; none while anything is missing.
    """

    missing: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


class _ReferenceReader:
    """Reads the objects of one check, each with all the keys that the check needs of it.

    Args:
        cache: the cache of reads.
        namespace: the namespace of the server.
        references: the objects that must exist.
    """

    def __init__(self, cache: ReferenceCache, namespace: str, references: Iterable[Reference]) -> None:
        self.namespace = namespace
        self._cache = cache
        self._keys: dict[str, set[str]] = {}
        self._values: dict[str, set[str]] = {}
        for one in references:
            if one.key is not None:
                self._keys.setdefault(one.name, set()).add(one.key)
                self._values.setdefault(one.name, set()).update({one.key} if one.keep_value else ())

    async def read_all(self, objects: Iterable[tuple[str, str]]) -> list[CachedRead]:
        """Return a read of each object, given by kind and name, in the same order; few are read at once."""
        objects, limit = tuple(objects), asyncio.Semaphore(READS_AT_ONCE)

        async def read(kind: str, name: str) -> CachedRead:
            async with limit:
                if kind != "Secret":
                    return await self._cache.claim(self.namespace, name)
                return await self._cache.secret(
                    self.namespace, name, self._keys.get(name, ()), self._values.get(name, ())
                )

        distinct = tuple(dict.fromkeys(objects))
        found = dict(zip(distinct, await asyncio.gather(*(read(*one) for one in distinct)), strict=True))
        return [found[one] for one in objects]


class ReferenceResolver:
    """Read referenced objects, and keep what was read for a while.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
        rules: limits of what the author of a server may use.
    """

    def __init__(self, client: ApiClient, clock: Callable[[], float], rules: TenantRules = FREE_RULES) -> None:
        self._cache = ReferenceCache(client, clock, MISSING_SECONDS if rules.labelled_secrets else FOUND_SECONDS)
        self._rules = rules

    async def check(
        self, namespace: str, references: Iterable[Reference], claimed: RightsClaimed = NO_RIGHTS_CLAIMED
    ) -> ReferenceCheck:
        """Check the references of one server.

        Args:
            namespace: the namespace of the server.
            references: the objects that must exist.
            claimed: parts of the spec that need the consent of an administrator.

        Raises:
            ApiError: the API server did not answer in time; a refused read is a problem of the spec instead.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self._check(namespace, tuple(references), claimed)
        except TimeoutError as error:
            message = f"the objects that the spec refers to could not be read within {CHECK_SECONDS:.0f} s"
            raise NoAnswerError("Timeout", message) from error

    async def secret_value(self, namespace: str, name: str, key: str) -> str | None:
        """Return the value of a key of a Secret; None when it is missing."""
        return (await self._cache.secret(namespace, name, (key,), (key,))).values.get(key)

    async def _check(self, namespace: str, references: Sequence[Reference], claimed: RightsClaimed) -> ReferenceCheck:
        forbidden = await self._pod_template_problems(namespace, claimed)
        reader = _ReferenceReader(self._cache, namespace, references)
        refused = await self._refused_secrets(reader, claimed.secrets)
        # Of a Secret that nobody released, not even the keys that are missing are reported.
        open_references = [one for one in references if one.kind != "Secret" or one.name not in refused]
        reads = await reader.read_all((one.kind, one.name) for one in open_references)
        problems = [self._problem(namespace, one, read) for one, read in zip(open_references, reads, strict=True)]
        if missing := (*forbidden, *refused.values(), *(problem for problem in problems if problem)):
            return ReferenceCheck(missing)
        pairs = zip(open_references, reads, strict=True)
        return ReferenceCheck(warnings=tuple(filter(None, (_sharing_warning(one, read) for one, read in pairs))))

    async def _pod_template_problems(self, namespace: str, claimed: RightsClaimed) -> tuple[Problem, ...]:
        if not self._rules.restricted_pod_template or not claimed.pod_template:
            return ()
        is_free = namespace_is_free(await self._cache.namespace_labels(namespace))
        return () if is_free else claimed.pod_template

    async def _refused_secrets(
        self, reader: _ReferenceReader, secrets: Sequence[SecretReference]
    ) -> dict[str, Problem]:
        """Return the Secrets that nobody released by name, each with the problem; missing ones are not among them."""
        if not self._rules.labelled_secrets:
            return {}
        checked, more = secrets[:MAX_SECRETS], secrets[MAX_SECRETS:]
        if more:
            return {more[0].name: too_many_secrets(more[0])}
        reads = await reader.read_all(("Secret", one.name) for one in checked)
        problems = {
            one.name: secret_problem(reader.namespace, one, read) for one, read in zip(checked, reads, strict=True)
        }
        refused = {name: problem for name, problem in problems.items() if problem}
        # Where all Secrets are labelled, the labels of the namespace need not be read.
        if refused and namespace_releases_secrets(await self._cache.namespace_labels(reader.namespace)):
            return {}
        return refused

    def _problem(self, namespace: str, reference: Reference, read: CachedRead) -> Problem | None:
        described = f"{reference.kind} {reference.name}"
        if read.denied:
            return Problem(
                f"{reference.kind}Unreadable", f"{reference.field}: {described} cannot be read: {read.denied}"
            )
        if not read.exists:
            return Problem(
                f"{reference.kind}NotFound",
                f"{reference.field}: {described} does not exist in namespace {namespace}: create it, or name another",
            )
        if reference.key is not None and reference.key not in read.keys:
            self._cache.forget_secret(namespace, reference.name)
            return Problem(
                "SecretKeyNotFound",
                f"{reference.field}: {described} has no key {reference.key}: add it, or name another key",
            )
        return None


def _sharing_warning(reference: Reference, read: CachedRead) -> str | None:
    """Return a remark on a claim that several pods use and only one node can mount; None for other references."""
    if not reference.sharing_problem or not is_exclusive(read.access_modes):
        return None
    claim = f"PersistentVolumeClaim {reference.name}"
    return f"{reference.field}: {claim} is {', '.join(read.access_modes)}, so {reference.sharing_problem}"
