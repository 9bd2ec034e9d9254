"""Which calls are made, for the metrics: every request of the shared session, those of kopf included."""

from __future__ import annotations

import time
from typing import Protocol

import aiohttp

from vllm_operator.kube.availability import ApiServerAvailability

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DISCOVERY = "discovery"
"""Resource of the calls that ask what the API server serves."""


class OnRequest(Protocol):
    """Told of every call: verb and resource as in the rules of a Role, HTTP status if any, seconds to the answer."""

    def __call__(self, verb: str, resource: str, code: int | None, seconds: float, /) -> None:
        """Must not block."""


class RequestMetrics:
    """aiohttp middleware that tells of every call. A watch counts when its answer begins.

    Args:
        on_call: told for the metrics.
        recovery: told what the call says about the API server.
    """

    def __init__(self, on_call: OnRequest, recovery: ApiServerAvailability) -> None:
        self._on_call = on_call
        self._recovery = recovery

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        began, code = time.perf_counter(), None
        path = request.url.raw_path
        verb, resource = rbac_verb_and_resource(request.method, path, request.url.raw_query_string)
        try:
            response = await handler(request)
            code = response.status
            self._recovery.on_response(verb, path, code)
            return response
        except (aiohttp.ClientConnectionError, OSError) as error:
            # An answer that does not come in time may be this object's own trouble.
            if isinstance(error, aiohttp.ConnectionTimeoutError) or not isinstance(error, TimeoutError):
                self._recovery.on_no_connection()
            raise
        finally:
            self._on_call(verb, resource, code, time.perf_counter() - began)


def rbac_verb_and_resource(method: str, path: str, query: str) -> tuple[str, str]:
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
