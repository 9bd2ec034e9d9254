"""Which calls are made, for the metrics: every request of the shared session, those of kopf included."""

from __future__ import annotations

import time
from typing import Protocol

import aiohttp

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DISCOVERY = "discovery"
"""Resource of the calls that ask what the API server serves."""


class OnCall(Protocol):
    """Told of every call: verb and resource as in the rules of a Role, HTTP status if any, seconds to the answer."""

    def __call__(self, verb: str, resource: str, code: int | None, seconds: float, /) -> None:
        """Must not block."""


class Meter:
    """aiohttp middleware that tells of every call. A watch counts when its answer begins."""

    def __init__(self, on_call: OnCall) -> None:
        self._on_call = on_call

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        began, code = time.perf_counter(), None
        try:
            response = await handler(request)
            code = response.status
            return response
        finally:
            verb, resource = asked(request.method, request.url.raw_path, request.url.raw_query_string)
            self._on_call(verb, resource, code, time.perf_counter() - began)


def asked(method: str, path: str, query: str) -> tuple[str, str]:
    """Verb and resource of a request, as RBAC names them: `get` and `pods/log`."""
    parts = path.strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    if not parts:
        return "get", DISCOVERY
    resource = f"{parts[0]}/{parts[2]}" if len(parts) > 2 else parts[0]
    if method != "GET":
        return VERBS.get(method, method.lower()), resource
    return "get" if len(parts) > 1 else "watch" if "watch=true" in query else "list", resource
