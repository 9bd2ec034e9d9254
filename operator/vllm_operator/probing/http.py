"""HTTP requests to replicas: GET and POST of small bodies, without proxies, redirects, cookies or compression."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import aiohttp
import orjson
from yarl import URL

from vllm_operator.probing.health import HealthReason

KEEP_ALIVE_SECONDS = 75.0
"""Seconds for which an idle connection is kept: less than the 90 s that the operator configures for vLLM (default 5 s).
The operator closes first, so its requests never meet a connection that vLLM is closing."""

# The client's defaults play no part: a compressed answer could grow beyond any bound.
_HEADERS = {"user-agent": "vllm-operator", "accept": "*/*", "accept-encoding": "identity"}
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_DROPPED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError)


class ProbeError(Exception):
    """A replica gave no usable answer.

    Args:
        reason: reason of the replica's health.
        message: one line without secrets; never text that the replica sent.
    """

    def __init__(self, reason: HealthReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class UnexpectedStatusError(ProbeError):
    """A replica answered with an HTTP status other than 200.

    Args:
        status: the HTTP status.
        path: path of the request.
    """

    def __init__(self, status: int, path: str) -> None:
        super().__init__("Unauthorized" if status == 401 else "HTTPError", f"{path} answered {status}")
        self.status = status


def new_session() -> aiohttp.ClientSession:
    """Open a session for any number of replicas over plain HTTP, with one connection to each that is kept alive.

    Call it inside the event loop, and close the session at the end.
    """
    # The caller bounds how many requests run at once; a limit here would let silent replicas queue up before others.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `ReplicaClient` bounds the whole answer
    )


@dataclass(frozen=True, slots=True)
class ReplicaClient:
    """Sends requests to one replica.

    Attributes:
        session: see `new_session`.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        timeout: seconds for each whole answer.
        headers: sent with every request.
    """

    session: aiohttp.ClientSession
    base_url: str
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def get(self, path: str, limit: int) -> bytes:
        """GET `path` and return the body, at most `limit` bytes, of its answer 200.

        aiohttp sends the request once more when the replica had closed the kept connection.

        Raises:
            UnexpectedStatusError: the answer has another status.
            ProbeError: there is no usable answer.
        """
        return await self._request(path, None, limit, self.timeout)

    async def post(self, path: str, json_body: Any, limit: int, timeout: float) -> bytes:  # noqa: ASYNC109
        """POST `json_body` to `path` and return the body, at most `limit` bytes, of its answer 200.

        As with `get`, a request that met a closed connection is sent once more, so it must be one that may be repeated.

        Args:
            path: path of the request.
            json_body: sent as JSON.
            limit: longest body, in bytes.
            timeout: seconds for the whole answer.

        Raises:
            UnexpectedStatusError: the answer has another status.
            ProbeError: there is no usable answer.
        """
        return await self._request(path, orjson.dumps(json_body), limit, timeout)

    async def _request(self, path: str, data: bytes | None, limit: int, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await (self._send("GET", path, limit) if data is None else self._post(path, data, limit))
        except ProbeError:
            raise
        except Exception as error:
            # A replica may send anything; no answer may end the prober.
            raise connection_error(error, path, seconds) from None

    async def _post(self, path: str, data: bytes, limit: int) -> bytes:
        """POST once more when the kept connection was closed, as aiohttp does with a GET."""
        try:
            return await self._send("POST", path, limit, data)
        except aiohttp.ClientConnectorError:
            raise
        except _DROPPED:
            return await self._send("POST", path, limit, data)

    async def _send(self, method: str, path: str, limit: int, data: bytes | None = None) -> bytes:
        headers = {"content-type": "application/json", **self.headers} if data is not None else self.headers
        url = _url(self.base_url, path)
        async with self.session.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise UnexpectedStatusError(response.status, path)
            return await _body(response, path, limit)


async def _body(response: aiohttp.ClientResponse, path: str, limit: int) -> bytes:
    chunks: list[bytes] = []
    while chunk := await response.content.readany():
        chunks.append(chunk)
        if sum(map(len, chunks)) > limit:
            response.close()
            raise ProbeError("HTTPError", f"{path} answered with more than {limit} bytes")
    return b"".join(chunks)


@lru_cache(maxsize=16_384)
def _url(base_url: str, path: str) -> URL:
    """Parse a URL once for each replica and path: parsing would be a fifteenth of a request."""
    try:
        return URL(base_url + path)
    except ValueError as error:
        raise aiohttp.InvalidURL(base_url) from error


def connection_error(error: BaseException, path: str, seconds: float) -> ProbeError:
    """Describe a failure below HTTP. The chain of causes decides, since aiohttp wraps the error of the system.

    Args:
        error: the failure.
        path: path of the request.
        seconds: timeout of the request.
    """
    chain = list(_causes(error))
    codes = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return ProbeError("ConnectionRefused", f"{path}: connection refused")
    if codes & {errno.EMFILE, errno.ENFILE}:
        return ProbeError("Unreachable", f"{path}: not asked, the operator may open no more files: raise that limit")
    if codes & _NO_ROUTE or _includes(chain, aiohttp.ClientConnectorDNSError):
        return ProbeError("Unreachable", f"{path}: no route to the pod")
    if _includes(chain, TimeoutError):
        return ProbeError("Timeout", f"{path}: no answer within {seconds:g} s")
    if _includes(chain, *_CLOSED):
        return ProbeError("Unreachable", f"{path}: the connection was closed without an answer")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ProbeError("Unreachable", f"{path}: the pod has no usable address")
    return ProbeError("HTTPError", f"{path}: the answer is not HTTP")


def _includes(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in chain)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
