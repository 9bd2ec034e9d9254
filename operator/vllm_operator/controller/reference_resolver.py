"""Check that the Secrets and claims that a spec refers to exist. Secrets are read by name, never listed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.problem import Problem
from vllm_operator.errors import ApiError
from vllm_operator.kube.claims import is_exclusive
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import CLAIM, SECRET, Kind
from vllm_operator.validation.references import Reference

FOUND_SECONDS = 60.0
"""How long the content of an object is used before it is read again."""

MISSING_SECONDS = 5.0
"""The same for an object that is missing or unreadable: a spec must be accepted soon after it can be read."""


@dataclass(frozen=True)
class ReferenceCheck:
    """The result of a check.

    Attributes:
        missing: objects and keys that are missing or unreadable; each names the field and the remedy.
        warnings: remarks on claims that several pods use and only one node can mount; none while anything is missing.
    """

    missing: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _CachedRead:
    """One object as it was read.

    Attributes:
        keys: keys of a Secret; None when the object does not exist or cannot be read.
        values: values of a Secret by key.
        expires_at: end of its use, in monotonic seconds.
        denied: message of the API server that refuses the read; empty when it does not.
        access_modes: access modes of a claim.
    """

    keys: frozenset[str] | None
    values: dict[str, str]
    expires_at: float
    denied: str = ""
    access_modes: tuple[str, ...] = ()


class ReferenceResolver:
    """Read referenced objects, and keep what was read for a while.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
    """

    def __init__(self, client: ApiClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._reads: dict[tuple[str, str, str], _CachedRead] = {}

    async def check(self, namespace: str, references: Iterable[Reference]) -> ReferenceCheck:
        """Check the references of one server.

        Raises:
            ApiError: the API server did not answer; a refused read is a problem of the spec instead.
        """
        references = tuple(references)
        problems = [await self._problem(namespace, reference) for reference in references]
        if missing := tuple(problem for problem in problems if problem):
            return ReferenceCheck(missing)
        shared = [reference for reference in references if reference.sharing_problem]
        warnings = [await self._warning(namespace, reference) for reference in shared]
        return ReferenceCheck(warnings=tuple(warning for warning in warnings if warning))

    async def secret_value(self, namespace: str, name: str, key: str) -> str | None:
        """Return the value of a key of a Secret; None when it is missing."""
        return (await self._read(SECRET, namespace, name)).values.get(key)

    async def _problem(self, namespace: str, reference: Reference) -> Problem | None:
        kind = SECRET if reference.kind == "Secret" else CLAIM
        read = await self._read(kind, namespace, reference.name)
        described = f"{reference.kind} {reference.name}"
        if read.denied:
            return Problem(
                f"{reference.kind}Unreadable", f"{reference.field}: {described} cannot be read: {read.denied}"
            )
        if read.keys is None:
            return Problem(
                f"{reference.kind}NotFound",
                f"{reference.field}: {described} does not exist in namespace {namespace}: create it, or name another",
            )
        if reference.key is not None and reference.key not in read.keys:
            self._reads.pop((kind.name, namespace, reference.name), None)
            keys = ", ".join(sorted(read.keys)) or "none"
            return Problem(
                "SecretKeyNotFound",
                f"{reference.field}: {described} has no key {reference.key} (its keys: {keys}): "
                "add it, or name another key",
            )
        return None

    async def _warning(self, namespace: str, reference: Reference) -> str | None:
        """Return a remark on a claim that several pods use and only one node can mount; None for other claims."""
        modes = (await self._read(CLAIM, namespace, reference.name)).access_modes
        if not is_exclusive(modes):
            return None
        claim = f"PersistentVolumeClaim {reference.name}"
        return f"{reference.field}: {claim} is {', '.join(modes)}, so {reference.sharing_problem}"

    async def _read(self, kind: Kind, namespace: str, name: str) -> _CachedRead:
        identity = (kind.name, namespace, name)
        known = self._reads.get(identity)
        if known is not None and known.expires_at > self._clock():
            return known
        read = self._reads[identity] = await self._read_live(kind, namespace, name)
        self._forget_expired()
        return read

    async def _read_live(self, kind: Kind, namespace: str, name: str) -> _CachedRead:
        try:
            body = await self._client.get(kind, namespace, name)
        except ApiError as error:
            if error.status != 403:
                raise
            return _CachedRead(None, {}, self._clock() + MISSING_SECONDS, denied=error.message)
        if body is None:
            return _CachedRead(None, {}, self._clock() + MISSING_SECONDS)
        data: dict[str, Any] = (body.get("data") or {}) if kind is SECRET else {}
        values = {key: _decoded(value) for key, value in data.items()}
        modes = tuple((body.get("spec") or {}).get("accessModes") or ()) if kind is CLAIM else ()
        return _CachedRead(frozenset(data), values, self._clock() + FOUND_SECONDS, access_modes=modes)

    def _forget_expired(self) -> None:
        """Drop expired reads, so that no secret stays in memory for longer than it is used."""
        now = self._clock()
        self._reads = {identity: read for identity, read in self._reads.items() if read.expires_at > now}


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (ValueError, TypeError):
        return ""
