"""Call the API server. The client never retries: the work queue backs off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, NamedTuple

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from vllm_operator.api.names import MANAGER, UNREADABLE
from vllm_operator.errors import ApiError, NoAnswerError, NotLeaderError, NotSentError, ResponseTooLargeError
from vllm_operator.kube.bulkhead import SharedBulkhead
from vllm_operator.kube.codec import parse_json, to_yaml_safe_json
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.kinds import Kind
from vllm_operator.kube.raw_objects import Packed, Raw, RawList, cut_list, pack_in_steps, read_object
from vllm_operator.kube.responses import error_of_response, read_body

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
FORCE_PARAMETERS = {"force": "true", "fieldValidation": "Ignore"}
"""Query of every apply. Validation would only add warnings of duplicate fields, for which the API server parses each
body twice, a tenth of its work for an apply. An apply refuses unknown fields in any case."""
CALL_TIMEOUT_SECONDS = 20.0
LIST_PAGE_SIZE = 500
PAGE_SHRINK_FACTOR = 8
"""Divides the number of objects of a page that was too large; the page after it may have twice as many again."""
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Bytes of a response. The largest object of etcd has 1.5 MiB, and up to six times as much as JSON with escapes."""
SHARED_CALL_SLOTS = 16
"""Concurrent calls, in addition to one for each reconcile. Each has a connection: 200 kB and a TLS handshake."""
RELEASE_AFTER_SECONDS = 3.0
"""Seconds after which a call releases its permit to another one."""

CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, RuntimeError)
"""Exceptions of a call without an answer. RuntimeError: the session was closed to be renewed."""

Body = Mapping[str, Any]


class Listing(NamedTuple, Generic[Packed]):
    """A complete list and its resource version.

    Attributes:
        items: its objects, as the caller of `list` packed them.
        version: its resource version.
    """

    items: list[Packed]
    version: str


class ApiClient:
    """Read and write objects. Every failure is an `ApiError`.

    Args:
        connection: the shared session.
        may_write: returns whether this process leads. It is called before every write, so that a leader that lost its
            Lease writes nothing.
    """

    def __init__(self, connection: Connection, may_write: Callable[[], bool] = lambda: True) -> None:
        self._connection = connection
        self._may_write = may_write
        self._bulkhead = SharedBulkhead(SHARED_CALL_SLOTS, RELEASE_AFTER_SECONDS)

    async def get(self, kind: Kind, namespace: str, name: str, *, cached: bool = False) -> dict[str, Any] | None:
        """Return one object; None when it does not exist.

        Args:
            kind: its kind.
            namespace: its namespace.
            name: its name.
            cached: read from the cache of the API server, not from etcd. It may lag behind by a moment.
        """
        parameters = {"resourceVersion": "0"} if cached else None
        try:
            return await self._request("GET", kind.path(namespace, name), kind=kind, parameters=parameters)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def get_path(self, path: str) -> dict[str, Any] | None:
        """Return the JSON object at a path; None for 404."""
        try:
            return await self._request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def get_text(self, path: str, parameters: Mapping[str, str], max_bytes: int) -> str:
        """Return the text at a path, such as a log, up to a number of bytes; the rest is not read."""
        raw = await self._send("GET", path, parameters=parameters, max_bytes=max_bytes, may_cut=True)
        return raw.decode(errors="replace")

    async def list(
        self, kind: Kind, namespace: str | None, selector: str | None, pack: Callable[[Raw], Packed | None]
    ) -> Listing[Packed] | None:
        """Return all objects of a kind; None for a kind that is not served.

        The objects of one page at a time are in memory, and one of them parsed.

        Args:
            kind: the kind.
            namespace: the namespace; None for all.
            selector: label selector, if any.
            pack: called with each object, unparsed; returns what the list keeps of it, None for nothing.
        """
        items: list[Packed] = []
        limit = LIST_PAGE_SIZE
        parameters = {"labelSelector": selector} if selector else {}
        while True:
            try:
                page = await self.list_page(kind.path(namespace), {"limit": str(limit), **parameters})
            except ResponseTooLargeError:
                if limit == 1:
                    raise
                limit = max(1, limit // PAGE_SHRINK_FACTOR)
                continue
            if page is None:
                return None
            items += await pack_in_steps(page.items, pack)
            if not page.continuation:
                return Listing(items, page.version)
            parameters["continue"] = page.continuation
            limit = min(LIST_PAGE_SIZE, 2 * limit)

    async def list_page(
        self, path: str, parameters: Mapping[str, str], max_bytes: int = MAX_RESPONSE_BYTES
    ) -> RawList | None:
        """Return one page of a list, its objects unparsed; None for a kind that is not served.

        Raises:
            ResponseTooLargeError: the page has more bytes; fewer objects may fit.
            ApiError: the page cannot be read.
        """
        try:
            raw = await self._send("GET", path, parameters=parameters, max_bytes=max_bytes)
            return await cut_list(raw)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        except ValueError as error:
            raise _bad_answer(error) from error

    async def stream(self, path: str, parameters: Mapping[str, str], silent_seconds: float) -> AsyncGenerator[bytes]:
        """Yield the response to a long GET, in pieces of any size, until the API server ends it.

        Args:
            path: the path to get.
            parameters: its query.
            silent_seconds: seconds without a piece after which the connection is closed.

        Raises:
            ApiError: the API server refused it, or the connection broke.
        """
        url, session = self._connection.server + path, self._connection.session
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CALL_TIMEOUT_SECONDS, sock_read=silent_seconds)
        try:
            async with session.get(url, params=parameters, timeout=timeout) as response:
                if response.status >= 400:
                    raw = await read_body(response, MAX_RESPONSE_BYTES)
                    if response.status == 401:
                        await self._connection.renew()
                    raise error_of_response(response.status, raw, response.headers.get("Retry-After"))
                with self._connection.stream(response) as content:
                    async for piece in content.iter_any():
                        yield piece
        except CONNECTION_ERRORS as error:
            raise await self._no_answer(error) from error

    async def apply(self, kind: Kind, body: Body, *, subresource: str | None = None) -> dict[str, Any]:
        """Apply a manifest by force as the field manager of the operator; return the stored object."""
        metadata = body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], subresource)
        return await self._request(
            "PATCH", path, body, kind=kind, content_type=APPLY, parameters={"fieldManager": MANAGER, **FORCE_PARAMETERS}
        )

    async def apply_as(self, manager: str, kind: Kind, body: Body) -> dict[str, Any]:
        """Apply a manifest by force as another field manager, for an ownership transfer."""
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request(
            "PATCH", path, body, kind=kind, content_type=APPLY, parameters={"fieldManager": manager, **FORCE_PARAMETERS}
        )

    async def merge_patch(
        self, kind: Kind, namespace: str, name: str, patch: Body, manager: str, subresource: str | None = None
    ) -> dict[str, Any]:
        """Send a JSON merge patch (RFC 7386): objects merge, lists are replaced. Return the stored object."""
        path = kind.path(namespace, name, subresource)
        return await self._request(
            "PATCH", path, patch, kind=kind, content_type=MERGE_PATCH, parameters={"fieldManager": manager}
        )

    async def create(self, kind: Kind, namespace: str, body: Body) -> dict[str, Any]:
        """Create an object; return it as it is stored."""
        return await self._request("POST", kind.path(namespace), body, kind=kind, parameters={"fieldManager": MANAGER})

    async def replace(self, kind: Kind, body: Body) -> dict[str, Any]:
        """Replace an object; return it as it is stored.

        Raises:
            ApiError: a conflict (409) when it changed since it was read.
        """
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request("PUT", path, body, kind=kind, parameters={"fieldManager": MANAGER})

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str, grace_seconds: int | None = None) -> Body:
        """Delete the object with this UID. An object that is gone or replaced already stays as it is.

        Args:
            kind: its kind.
            namespace: its namespace.
            name: its name.
            uid: its UID.
            grace_seconds: seconds that a pod may take to end; None for the grace period of the pod.

        Returns:
            The response: a pod that is about to end, or a Status; empty when there was nothing to delete.
        """
        options: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            return await self._request("DELETE", kind.path(namespace, name), options, kind=kind)
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
        kind: Kind | None = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request; return the object of the response.

        Args:
            method: HTTP method.
            path: URL path.
            body: the object to send.
            kind: kind of the object in the response; None for one that no user writes.
            content_type: type of the body.
            parameters: query.
        """
        if body is not None and UNREADABLE in body:
            raise NotSentError("Unreadable", f"an object cannot be written back: {body[UNREADABLE]}")
        raw = await self._send(method, path, body, content_type=content_type, parameters=parameters)
        try:
            return parse_json(raw) if kind is None else read_object(raw, kind)
        except (ValueError, RecursionError) as error:
            raise _bad_answer(error) from error

    async def _send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
        max_bytes: int = MAX_RESPONSE_BYTES,
        may_cut: bool = False,
    ) -> bytes:
        """Send a request; return the body of the response.

        Args:
            method: HTTP method.
            path: URL path.
            body: the object to send.
            content_type: type of the body.
            parameters: query.
            max_bytes: bytes of the response at most.
            may_cut: return the beginning of a longer response instead of raising an error.
        """
        if method != "GET" and not self._may_write():
            raise NotLeaderError
        try:
            async with (
                self._bulkhead.permit(),
                self._connection.session.request(
                    method,
                    self._connection.server + path,
                    # The API server reads applies with a YAML parser; in JSON the escapes have the same meaning.
                    data=None if body is None else _FencedBody(to_yaml_safe_json(body), self._may_write),
                    headers={"Content-Type": content_type} if body is not None else None,
                    params=parameters,
                    timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS),
                ) as response,
            ):
                raw = await read_body(response, max_bytes, may_cut=may_cut)
        except CONNECTION_ERRORS as error:
            raise await self._no_answer(error) from error
        if response.status == 401:
            await self._connection.renew()
        if response.status >= 400:
            raise error_of_response(response.status, raw, response.headers.get("Retry-After"))
        return raw

    async def _no_answer(self, error: Exception) -> ApiError:
        return NoAnswerError(
            "Unreachable", f"the API server cannot be reached: {await self._connection.on_failed_call(error)}"
        )


class _FencedBody(aiohttp.BytesPayload):
    """A request body that checks again that this process leads: it can be suspended while it connects.

    aiohttp sends the headers together with the body, so a request that is stopped here does not reach the API server.
    """

    def __init__(self, value: bytes, may_write: Callable[[], bool]) -> None:
        super().__init__(value)
        self._may_write = may_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if not self._may_write():
            raise NotLeaderError
        await super().write_with_length(writer, content_length)


def _bad_answer(error: Exception) -> NoAnswerError:
    return NoAnswerError("BadAnswer", f"the API server sent no valid JSON object: {error}")
