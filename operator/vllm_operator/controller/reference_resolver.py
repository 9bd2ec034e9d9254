"""Does what a manifest refers to exist? Secrets are read by name, never listed."""

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
MISSING_SECONDS = 5.0
"""How long an answer is believed: one that refuses a manifest must go soon after the cause."""


@dataclass(frozen=True)
class _Answer:
    keys: frozenset[str] | None
    values: dict[str, str]
    until: float
    denied: str = ""
    modes: tuple[str, ...] = ()


class ReferenceResolver:
    """Looks referenced objects up, and remembers the answer for a while.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
    """

    def __init__(self, client: ApiClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._answers: dict[tuple[str, str, str], _Answer] = {}

    async def problems(self, namespace: str, references: Iterable[Reference]) -> tuple[Problem, ...]:
        """What is missing, each with the field that names it and the way out."""
        found = [await self._problem(namespace, reference) for reference in references]
        return tuple(problem for problem in found if problem)

    async def notes(self, namespace: str, references: Iterable[Reference]) -> tuple[str, ...]:
        """What may go wrong with claims that are there: one that only one node may mount, and several pods use."""
        shared = [reference for reference in references if reference.sharing_problem]
        modes = [(await self._answer(CLAIM, namespace, reference.name)).modes for reference in shared]
        return tuple(
            f"{one.field}: PersistentVolumeClaim {one.name} is {', '.join(its)}, so {one.sharing_problem}"
            for one, its in zip(shared, modes, strict=True)
            if is_exclusive(its)
        )

    async def secret_value(self, namespace: str, name: str, key: str) -> str | None:
        """A key of a Secret, for the prober; None when it is missing."""
        return (await self._answer(SECRET, namespace, name)).values.get(key)

    async def _problem(self, namespace: str, reference: Reference) -> Problem | None:
        kind = SECRET if reference.kind == "Secret" else CLAIM
        answer = await self._answer(kind, namespace, reference.name)
        what = f"{reference.kind} {reference.name}"
        if answer.denied:
            return Problem(f"{reference.kind}Unreadable", f"{reference.field}: {what} cannot be read: {answer.denied}")
        if answer.keys is None:
            return Problem(
                f"{reference.kind}NotFound",
                f"{reference.field}: {what} does not exist in namespace {namespace}: create it, or name another",
            )
        if reference.key is not None and reference.key not in answer.keys:
            self._answers.pop((kind.name, namespace, reference.name), None)
            has = ", ".join(sorted(answer.keys)) or "none"
            return Problem(
                "SecretKeyNotFound",
                f"{reference.field}: {what} has no key {reference.key} (its keys: {has}): add it, or name another key",
            )
        return None

    async def _answer(self, kind: Kind, namespace: str, name: str) -> _Answer:
        identity = (kind.name, namespace, name)
        known = self._answers.get(identity)
        if known is not None and known.until > self._clock():
            return known
        answer = await self._look_up(kind, namespace, name)
        self._answers[identity] = answer
        self._forget_old()
        return answer

    async def _look_up(self, kind: Kind, namespace: str, name: str) -> _Answer:
        try:
            body = await self._client.get(kind, namespace, name)
        except ApiError as error:
            if error.status != 403:
                raise
            return _Answer(None, {}, self._clock() + MISSING_SECONDS, denied=error.message)
        if body is None:
            return _Answer(None, {}, self._clock() + MISSING_SECONDS)
        data: dict[str, Any] = (body.get("data") or {}) if kind is SECRET else {}
        values = {key: _decoded(value) for key, value in data.items()}
        modes = tuple((body.get("spec") or {}).get("accessModes") or ()) if kind is CLAIM else ()
        return _Answer(frozenset(data), values, self._clock() + FOUND_SECONDS, modes=modes)

    def _forget_old(self) -> None:
        """Nothing secret stays in memory longer than it is believed."""
        now = self._clock()
        self._answers = {identity: answer for identity, answer in self._answers.items() if answer.until > now}


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (ValueError, TypeError):
        return ""
