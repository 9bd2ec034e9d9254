"""A small API server in memory, which notes every request."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from vllm_operator.errors import ApiError
from vllm_operator.kube.kinds import Kind

Json = dict[str, Any]


class FakeClock:
    """A monotonic clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeApiClient:
    """The calls of ApiClient over a dict of objects.

    Attributes:
        objects: (kind, name) -> object.
        requests: (verb, kind, name), as they came.
        sent: bodies of the writes, in the same order.
        errors: (verb, kind) -> the error that such a request gets.
        before_write: called with the verb before a write takes effect.
        admission: changes what an apply stores.
        behind: (kind, name) -> what the API server's cache holds instead of the object; None for nothing.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.sent: list[Any] = []
        self.errors: dict[tuple[str, str], ApiError] = {}
        self.before_write: Callable[[str], None] = lambda _: None
        self.admission: Callable[[Json], None] = lambda _: None
        self.behind: dict[tuple[str, str], Json | None] = {}
        self._version = itertools.count(100)

    def hold(self, body: Mapping[str, Any], **metadata: Any) -> Json:
        """Put an object on the server."""
        held = copy.deepcopy(dict(body))
        version = str(next(self._version))
        held["metadata"] = {"uid": f"uid-{version}", **held["metadata"], "resourceVersion": version, **metadata}
        self.objects[held["kind"], held["metadata"]["name"]] = held
        return copy.deepcopy(held)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        """The requests that were no reading."""
        return [request for request in self.requests if request[0] != "get"]

    def _note(self, verb: str, kind: Kind, name: str, sent: Any) -> None:
        if verb != "get":
            self.before_write(verb)
        self.requests.append((verb, kind.name, name))
        if verb != "get":
            self.sent.append(copy.deepcopy(sent))
        if error := self.errors.get((verb, kind.name)):
            raise error

    async def get(self, kind: Kind, namespace: str, name: str, *, cached: bool = False) -> Json | None:
        self._note("get", kind, name, None)
        held = self.objects.get((kind.name, name))
        return copy.deepcopy(self.behind.get((kind.name, name), held) if cached else held)

    async def apply(self, kind: Kind, body: Mapping[str, Any], *, subresource: str | None = None) -> Json:
        name = body["metadata"]["name"]
        self._note(f"apply {subresource}" if subresource else "apply", kind, name, body)
        known = self.objects.get((kind.name, name), {"metadata": {}})
        version = known["metadata"].get("resourceVersion")
        if version not in {None, body["metadata"].get("resourceVersion", version)}:
            raise ApiError(409, "Conflict", "the object has been modified")
        if version is None and body["metadata"].get("uid") and not subresource:
            raise ApiError(409, "Conflict", "uid mismatch: no existing object was found")
        own = {"uid": known["metadata"].get("uid", f"uid-{next(self._version)}")}
        held = {**known, **copy.deepcopy(dict(body))}
        held["metadata"] = {**known["metadata"], **body["metadata"], **own, "resourceVersion": str(next(self._version))}
        self.admission(held)
        self.objects[kind.name, name] = held
        return copy.deepcopy(held)

    async def apply_as(self, manager: str, kind: Kind, body: Mapping[str, Any]) -> Json:
        self._note(f"apply as {manager}", kind, body["metadata"]["name"], body)
        return {}

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Mapping[str, Any],
        manager: str,
        subresource: str | None = None,
    ) -> Json:
        self._note(f"merge patch {subresource}" if subresource else "merge patch", kind, name, patch)
        held = self.objects.get((kind.name, name))
        if held is None:
            raise ApiError(404, "NotFound", f"{name} not found")
        version = {"metadata": {"resourceVersion": str(next(self._version))}}
        held = self.objects[kind.name, name] = merged(merged(held, patch), version)
        return copy.deepcopy(held)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Json:
        name = body["metadata"]["name"]
        self._note("create", kind, name, body)
        if (kind.name, name) in self.objects:
            raise ApiError(409, "AlreadyExists", f"{name} already exists")
        return self.hold(body)

    async def replace(self, kind: Kind, body: Mapping[str, Any]) -> Json:
        name = body["metadata"]["name"]
        self._note("replace", kind, name, body)
        held = self.objects[kind.name, name]
        if held["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.hold(body)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> Json:
        self._note("delete", kind, name, uid)
        gone = self.objects.pop((kind.name, name), None)
        if gone is None or grace_seconds is None:
            return {}
        ends = {"deletionTimestamp": "2026-03-02T08:32:30Z", "deletionGracePeriodSeconds": grace_seconds}
        return {**gone, "metadata": {**gone["metadata"], **ends, "resourceVersion": str(next(self._version))}}


def merged(base: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    known = base if isinstance(base, Mapping) else {}
    changed = {key: merged(known.get(key), value) for key, value in patch.items() if value is not None}
    return {**{key: value for key, value in known.items() if key not in patch}, **changed}
