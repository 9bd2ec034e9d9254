"""Check that the objects that a spec refers to exist, and that its author may use them.

Secrets, claims and namespaces are read by name, never listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
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
        refused = await self._refused_secrets(namespace, claimed.secrets)
        # Of a Secret that nobody released, not even the keys that are missing are reported.
        open_references = [one for one in references if one.kind != "Secret" or one.name not in refused]
        reads = await self._read_all(namespace, open_references)
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

    async def _refused_secrets(self, namespace: str, secrets: Sequence[SecretReference]) -> dict[str, Problem]:
        """Return the Secrets that nobody released by name, each with the problem; missing ones are not among them."""
        if not self._rules.labelled_secrets or not secrets:
            return {}
        if namespace_releases_secrets(await self._cache.namespace_labels(namespace)):
            return {}
        if len(secrets) > MAX_SECRETS:
            return {one.name: too_many_secrets(one) for one in secrets[MAX_SECRETS : MAX_SECRETS + 1]}
        reads = await self._gather([self._cache.secret(namespace, one.name, ()) for one in secrets])
        problems = {one.name: secret_problem(namespace, one, read) for one, read in zip(secrets, reads, strict=True)}
        return {name: problem for name, problem in problems.items() if problem}

    async def _read_all(self, namespace: str, references: Sequence[Reference]) -> list[CachedRead]:
        """Read the object of each reference; each object once, with all its keys."""
        keys: dict[str, set[str]] = {}
        values: dict[str, set[str]] = {}
        for one in references:
            if one.key is not None:
                keys.setdefault(one.name, set()).add(one.key)
                values.setdefault(one.name, set()).update({one.key} if one.keep_value else ())
        objects = list(dict.fromkeys((one.kind, one.name) for one in references))
        reads = await self._gather(
            [
                self._cache.secret(namespace, name, keys.get(name, ()), values.get(name, ()))
                if kind == "Secret"
                else self._cache.claim(namespace, name)
                for kind, name in objects
            ]
        )
        found = dict(zip(objects, reads, strict=True))
        return [found[one.kind, one.name] for one in references]

    async def _gather(self, reads: Sequence[Coroutine[object, object, CachedRead]]) -> list[CachedRead]:
        limit = asyncio.Semaphore(READS_AT_ONCE)

        async def limited(read: Coroutine[object, object, CachedRead]) -> CachedRead:
            async with limit:
                return await read

        return await asyncio.gather(*(limited(read) for read in reads))

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
