"""Measure every request of the shared session, those of kopf included."""

from __future__ import annotations

import time
from typing import Protocol

import aiohttp

from vllm_operator.kube.availability import ApiServerAvailability

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DISCOVERY = "discovery"
"""Resource that discovery requests count under."""


class OnRequest(Protocol):
    """Called after every request: verb and resource as in the rules of a Role, HTTP status if any, seconds."""

    def __call__(self, verb: str, resource: str, status: int | None, seconds: float, /) -> None:
        """Count the request; must not block."""


class RequestMetrics:
    """An aiohttp middleware that reports every request. A watch counts when its response begins.

    Args:
        on_request: called for the metrics.
        availability: receives the result of the request.
    """

    def __init__(self, on_request: OnRequest, availability: ApiServerAvailability) -> None:
        self._on_request = on_request
        self._availability = availability

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        started, status = time.perf_counter(), None
        path = request.url.raw_path
        verb, resource = rbac_verb_and_resource(request.method, path, request.url.raw_query_string)
        try:
            response = await handler(request)
            status = response.status
            self._availability.on_response(verb, path, status)
            return response
        except (aiohttp.ClientConnectionError, OSError) as error:
            # A response that does not come in time may be the fault of this object alone.
            if isinstance(error, aiohttp.ConnectionTimeoutError) or not isinstance(error, TimeoutError):
                self._availability.on_no_connection()
            raise
        finally:
            self._on_request(verb, resource, status, time.perf_counter() - started)


def rbac_verb_and_resource(method: str, path: str, query: str) -> tuple[str, str]:
    """Return verb and resource of a request in the terms of RBAC, such as `get` and `pods/log`."""
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
