"""The calls that the operator makes to the API server. No retries here: the queue backs off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter

from vllm_operator.api.names import MANAGER
from vllm_operator.errors import ApiError, NoAnswerError, NotLeaderError
from vllm_operator.kube.bulkhead import SharedBulkhead
from vllm_operator.kube.codec import parse_json, to_yaml_safe_json
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.kinds import Kind

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
FORCE_PARAMETERS = {"force": "true", "fieldValidation": "Ignore"}
"""To warn of repeated fields the API server would parse each body a second time, a tenth of its work for an apply.
What the schema does not have an apply refuses in any case."""
CALL_TIMEOUT_SECONDS = 20.0
LIST_PAGE_SIZE = 500
SHARED_CALL_SLOTS = 16
"""Calls at once, apart from one for each pass. Each has a connection, which takes 200 kB and a TLS handshake."""
RELEASE_AFTER_SECONDS = 3.0
"""A call that takes longer lets another one go."""

CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, RuntimeError)
"""RuntimeError: the session was closed to be renewed."""

Body = Mapping[str, Any]


class Listing(NamedTuple):
    """A complete list, and the resource version at which it was true."""

    items: list[dict[str, Any]]
    version: str


class ApiClient:
    """Reads and writes single objects; every failure is an ApiError.

    Args:
        connection: the shared session.
        may_write: asked before every write, so that a leader that lost its lease writes nothing.
    """

    def __init__(self, connection: Connection, may_write: Callable[[], bool] = lambda: True) -> None:
        self._connection = connection
        self._may_write = may_write
        self._bulkhead = SharedBulkhead(SHARED_CALL_SLOTS, RELEASE_AFTER_SECONDS)

    async def get(self, kind: Kind, namespace: str, name: str, *, cached: bool = False) -> dict[str, Any] | None:
        """One object; None when it does not exist.

        Args:
            cached: take what the API server has in its own cache, which may be a moment behind: etcd is not asked.
        """
        parameters = {"resourceVersion": "0"} if cached else None
        try:
            return await self._request("GET", kind.path(namespace, name), parameters=parameters)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def get_path(self, path: str) -> dict[str, Any] | None:
        """What the API server answers to a GET of `path`; None for 404."""
        try:
            return await self._request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def get_text(self, path: str, parameters: Mapping[str, str]) -> str:
        """What the API server answers to a GET of `path` that is no JSON, such as a log."""
        return (await self._send("GET", path, parameters=parameters)).decode(errors="replace")

    async def list(self, kind: Kind, namespace: str | None, selector: str | None) -> Listing | None:
        """All objects of a kind, in chunks; None for a kind that is not served."""
        items: list[dict[str, Any]] = []
        parameters = {"limit": str(LIST_PAGE_SIZE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = await self.list_page(kind.path(namespace), parameters)
            if not page:
                return None
            items += page.get("items", [])
            metadata = page.get("metadata", {})
            following = metadata.get("continue")
            if not following:
                return Listing(items, str(metadata.get("resourceVersion", "")))
            parameters["continue"] = following

    async def list_page(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """One chunk of a list; empty when the kind does not exist."""
        try:
            return await self._request("GET", path, parameters=parameters)
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    async def stream(self, path: str, parameters: Mapping[str, str], silent_seconds: float) -> AsyncGenerator[bytes]:
        """What the API server sends to a GET that lasts, in pieces of any size, until it ends it.

        Args:
            path: what to get.
            parameters: its query.
            silent_seconds: after so long without a piece the connection is given up.

        Raises:
            ApiError: the API server refused it, or the connection broke.
        """
        url, session = self._connection.server + path, self._connection.session
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_SECONDS, sock_read=silent_seconds)
        try:
            async with session.get(url, params=parameters, timeout=timeout) as response:
                if response.status == 401:
                    await self._connection.renew()
                if response.status >= 400:
                    raise _error(response.status, await response.read(), response.headers.get("Retry-After"))
                async for piece in response.content.iter_any():
                    yield piece
        except CONNECTION_ERRORS as error:
            raise await self._unreachable(error) from error

    async def apply(self, kind: Kind, body: Body, *, subresource: str | None = None) -> dict[str, Any]:
        """Server-side apply as the operator's one field manager; the answer is the object as it now is."""
        metadata = body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], subresource)
        return await self._request(
            "PATCH", path, body, content_type=APPLY, parameters={"fieldManager": MANAGER, **FORCE_PARAMETERS}
        )

    async def apply_as(self, manager: str, kind: Kind, body: Body) -> dict[str, Any]:
        """Server-side apply under another name, to hand a field over."""
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request(
            "PATCH", path, body, content_type=APPLY, parameters={"fieldManager": manager, **FORCE_PARAMETERS}
        )

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Body, manager: str, subresource: str | None = None
    ) -> dict[str, Any]:
        """A JSON merge patch (RFC 7386): objects merge, lists are replaced."""
        path = kind.path(namespace, name, subresource)
        return await self._request("PATCH", path, patch, content_type=MERGE_PATCH, parameters={"fieldManager": manager})

    async def create(self, kind: Kind, namespace: str, body: Body) -> dict[str, Any]:
        """Create an object."""
        return await self._request("POST", kind.path(namespace), body, parameters={"fieldManager": MANAGER})

    async def replace(self, kind: Kind, body: Body) -> dict[str, Any]:
        """Replace an object, unless it changed since it was read."""
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request("PUT", path, body, parameters={"fieldManager": MANAGER})

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> Body:
        """Delete exactly the object with this UID; one that is gone or replaced already is left alone.

        Args:
            grace_seconds: how long a pod may take to end; None leaves that to the pod.

        Returns:
            The API server's answer: a pod that is about to end, or a Status; empty when there was nothing to delete.
        """
        options: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            return await self._request("DELETE", kind.path(namespace, name), options)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
            return {}

    async def _request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        return _decoded(await self._send(method, path, body, content_type=content_type, parameters=parameters))

    async def _send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> bytes:
        if method != "GET" and not self._may_write():
            raise NotLeaderError
        try:
            async with (
                self._bulkhead.permit(),
                self._connection.session.request(
                    method,
                    self._connection.server + path,
                    # A YAML parser reads what is applied; for JSON the escapes mean the same.
                    data=None if body is None else _Fenced(to_yaml_safe_json(body), self._may_write),
                    headers={"Content-Type": content_type} if body is not None else None,
                    params=parameters,
                    timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS),
                ) as response,
            ):
                raw = await response.read()
        except CONNECTION_ERRORS as error:
            raise await self._unreachable(error) from error
        if response.status == 401:
            await self._connection.renew()
        if response.status >= 400:
            raise _error(response.status, raw, response.headers.get("Retry-After"))
        return raw

    async def _unreachable(self, error: Exception) -> ApiError:
        return NoAnswerError(
            "Unreachable", f"the API server cannot be reached: {await self._connection.on_failed_call(error)}"
        )


class _Fenced(aiohttp.BytesPayload):
    """A body that asks once more whether it may be sent: a leader can freeze while a connection is made for it.

    aiohttp sends the headers together with the body, so that the API server sees nothing of the request.
    """

    def __init__(self, value: bytes, may_write: Callable[[], bool]) -> None:
        super().__init__(value)
        self._may_write = may_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._may_write():
            raise NotLeaderError
        await super().write_with_length(writer, content_length)


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        return parse_json(raw)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("BadAnswer", f"the API server sent no valid JSON object: {error}") from error


def _error(status: int, raw: bytes, retry_after: str | None) -> ApiError:
    reason, message, causes = "Unknown", raw[:1024].decode(errors="replace"), frozenset[str]()
    try:
        answer = orjson.loads(raw)
        reason, message = str(answer.get("reason") or reason), str(answer.get("message") or message)
        causes = frozenset(str(cause.get("reason")) for cause in (answer.get("details") or {}).get("causes") or ())
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        pass
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, reason, message, seconds, causes)
