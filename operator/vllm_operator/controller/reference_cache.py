"""Read Secrets, claims and namespaces by name, and keep the little that is needed of each for a while."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get_map
from vllm_operator.kube.kinds import CLAIM, NAMESPACE, SECRET, Kind
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

FOUND_SECONDS = 60.0
"""How long the content of an object is used before it is read again."""

MISSING_SECONDS = 5.0
"""The same for an object that is missing or unreadable, and for the labels of a namespace: a spec must be accepted soon
after its cause is gone."""

LARGEST_KEY_BYTES = 8 * 1024
"""Longest API key that is kept, in bytes of base64: an HTTP header of that size is refused by most servers."""

READS_PER_NAMESPACE = 512
"""Objects of one namespace that are kept: with 8 KiB each, 4 MiB at most. The oldest read makes room for a new one."""


@dataclass(frozen=True)
class CachedRead:
    """The needed parts of one object.

    Attributes:
        exists: whether the object was found.
        expires_at: end of its use, in monotonic seconds.
        denied: message of the API server that refuses the read; empty when it does not.
        keys: of the keys of a Secret that were asked for, those that it has.
        asked: keys that were asked for.
        values: values of the keys that probes need; no other value is kept.
        allows_reference: whether a Secret carries the label that releases it.
        labels: labels of a namespace.
        access_modes: access modes of a claim.
    """

    exists: bool
    expires_at: float
    denied: str = ""
    keys: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    allows_reference: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    access_modes: tuple[str, ...] = ()


class ReferenceCache:
    """Read objects by name, and keep what was read for a while.

    Args:
        client: the API client.
        clock: monotonic time in seconds.
        unreleased_seconds: how long a Secret without the label is used before it is read again.
    """

    def __init__(
        self, client: ApiClient, clock: Callable[[], float], unreleased_seconds: float = FOUND_SECONDS
    ) -> None:
        self._client = client
        self._clock = clock
        self._unreleased_seconds = unreleased_seconds
        self._reads: dict[str, dict[tuple[str, str], CachedRead]] = {}

    async def secret(
        self, namespace: str, name: str, keys: Collection[str], values: Collection[str] = ()
    ) -> CachedRead:
        """Return a Secret.

        Args:
            namespace: its namespace.
            name: its name.
            keys: the keys whose presence is asked for.
            values: the keys among them whose values are needed.

        Raises:
            ApiError: the API server did not answer.
        """
        known = self._known(SECRET, namespace, name)
        asked, kept = frozenset(keys), frozenset(values)
        if known is not None:
            if not known.exists or (asked <= known.asked and kept & known.keys <= known.values.keys()):
                return known
            # Other servers use other keys of it.
            asked, kept = asked | known.asked, kept | known.values.keys()
        return await self._read(SECRET, namespace, name, lambda body: _secret_parts(body, asked, kept))

    async def claim(self, namespace: str, name: str) -> CachedRead:
        """Return a claim.

        Raises:
            ApiError: the API server did not answer.
        """
        known = self._known(CLAIM, namespace, name)
        return known or await self._read(CLAIM, namespace, name, _claim_parts)

    async def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; none where the operator may not read it.

        Raises:
            ApiError: the API server did not answer.
        """
        known = self._known(NAMESPACE, namespace, "")
        return (known or await self._read(NAMESPACE, namespace, "", _namespace_parts)).labels

    def forget_secret(self, namespace: str, name: str) -> None:
        """Read a Secret again when it is needed next."""
        self._reads.get(namespace, {}).pop((SECRET.name, name), None)

    def _known(self, kind: Kind, namespace: str, name: str) -> CachedRead | None:
        known = self._reads.get(namespace, {}).get((kind.name, name))
        return known if known is not None and known.expires_at > self._clock() else None

    async def _read(
        self, kind: Kind, namespace: str, name: str, parts: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> CachedRead:
        place = ("", namespace) if kind is NAMESPACE else (namespace, name)
        missing_until = self._clock() + MISSING_SECONDS
        try:
            body = await self._client.get(kind, *place)
        except ApiError as error:
            if error.status != 403:
                raise
            read = CachedRead(False, missing_until, denied=error.message)
        else:
            read = CachedRead(False, missing_until)
            if body is not None:
                found = CachedRead(True, 0.0, **parts(body))
                read = replace(found, expires_at=self._clock() + self._seconds(kind, found))
        self._keep((kind.name, name), namespace, read)
        return read

    def _seconds(self, kind: Kind, found: CachedRead) -> float:
        if kind is NAMESPACE:
            return MISSING_SECONDS
        return self._unreleased_seconds if kind is SECRET and not found.allows_reference else FOUND_SECONDS

    def _keep(self, identity: tuple[str, str], namespace: str, read: CachedRead) -> None:
        """Keep a read, and drop expired ones: no secret stays in memory for longer than it is used."""
        now = self._clock()
        for other, reads in list(self._reads.items()):
            self._reads[other] = {place: kept for place, kept in reads.items() if kept.expires_at > now}
            if not self._reads[other]:
                del self._reads[other]
        reads = self._reads.setdefault(namespace, {})
        reads.pop(identity, None)
        reads[identity] = read
        while len(reads) > READS_PER_NAMESPACE:
            del reads[next(iter(reads))]


def _secret_parts(body: Mapping[str, Any], asked: frozenset[str], kept: frozenset[str]) -> dict[str, Any]:
    data = get_map(body, "data")
    labels = get_map(body, "metadata", "labels")
    return {
        "keys": asked & data.keys(),
        "asked": asked,
        "values": {key: _decoded(data[key]) for key in kept if key in data},
        "allows_reference": labels.get(SECRET_LABEL) == SECRET_LABEL_VALUE,
    }


def _claim_parts(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"access_modes": tuple(get_map(body, "spec").get("accessModes") or ())}


def _namespace_parts(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"labels": dict(get_map(body, "metadata", "labels"))}


def _decoded(value: Any) -> str:
    """Return the text of a value; empty for one that no client could send as an API key."""
    if not isinstance(value, str) or len(value) > LARGEST_KEY_BYTES:
        return ""
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
