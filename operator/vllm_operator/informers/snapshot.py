"""The cached objects of one server at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from vllm_operator.api.names import child_name
from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object


@dataclass(frozen=True)
class Snapshot:
    """The parsed objects of one server. A reconcile works from it, so that every step sees the same state.

    Attributes:
        server: the VLLMServer.
        deployment: its Deployment; None while it does not exist.
        claim: the claim that holds its cache; None without a cache, and for a claim that the operator does not watch.
        autoscaler: its HorizontalPodAutoscaler; None while it does not exist.
        scaled_object: its ScaledObject; None while it does not exist.
        pods: the pods of its Deployment, sorted by name. Other pods with its labels are left out.
        standing: kinds of its children that exist, belong to it, and are not being deleted.
    """

    server: Object = field(default_factory=dict)
    deployment: Object | None = None
    claim: Object | None = None
    autoscaler: Object | None = None
    scaled_object: Object | None = None
    pods: tuple[Object, ...] = ()
    standing: frozenset[str] = frozenset()

    def objects(self) -> Iterator[Object]:
        """Yield every object that exists."""
        yield self.server
        children = (self.deployment, self.claim, self.autoscaler, self.scaled_object)
        yield from (child for child in children if child is not None)
        yield from self.pods


class Cached(Protocol):
    """An object in the cache, unparsed."""

    @property
    def uid(self) -> str:
        """UID of the object."""

    @property
    def version(self) -> str:
        """Resource version of the object."""

    @property
    def body(self) -> Object:
        """The object, parsed again at each call."""


class Parser:
    """Parse cached objects, except those that an earlier snapshot holds in the same resource version.

    Args:
        earlier: the earlier snapshot of the server, if any.
        parsed: other objects that are parsed already.
    """

    def __init__(self, earlier: Snapshot | None, parsed: Iterable[Object] = ()) -> None:
        objects = earlier.objects() if earlier is not None else ()
        self._parsed = {_identity(body): body for body in (*objects, *parsed)}

    def parse(self, cached: Cached) -> Object:
        """Return the object; without a UID and a resource version it is always parsed."""
        known = self._parsed.get((cached.uid, cached.version)) if cached.uid and cached.version else None
        return cached.body if known is None else known


def _identity(body: Object) -> tuple[str, str]:
    return get_str(body, "metadata", "uid"), get_str(body, "metadata", "resourceVersion")


def cache_claim_name(server: Object) -> str | None:
    """Return the name of the claim that holds the cache of a VLLMServer; None without a cache."""
    if get(server, "spec", "cache") is None:
        return None
    name = get_str(server, "metadata", "name")
    return get_str(server, "spec", "cache", "existingClaim") or child_name(name, "cache")
