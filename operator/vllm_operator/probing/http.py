"""HTTP to replicas: bounded in time and bytes, without proxies, redirects, cookies or compression."""

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
"""How long an idle connection is kept: less than the 90 s that the plan gives vLLM (5 s without). Who closes
first does not meet a request that is on its way."""

# The client's defaults play no part: a compressed answer could grow beyond any bound.
_HEADERS = {"user-agent": "vllm-operator", "accept": "*/*", "accept-encoding": "identity"}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_NO_FILES = {errno.EMFILE, errno.ENFILE}
_DROPPED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionError)


class ProbeError(Exception):
    """A replica gave no usable answer.

    Args:
        reason: for `ReplicaHealth`.
        message: one line without secrets; never text that the replica sent.
        status: HTTP status of an answer other than 200; None when there was no answer.
    """

    def __init__(self, reason: HealthReason, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status


def replica_client() -> aiohttp.ClientSession:
    """A client for any number of replicas over plain HTTP, each on a connection of its own that is kept alive.

    To be made inside the event loop, and closed.
    """
    # The caller bounds how many requests run at once; a limit here would let silent replicas queue up before others.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # `Replica` sets one for the whole answer
    )


@dataclass(frozen=True, slots=True)
class ReplicaEndpoint:
    """How one replica is asked.

    Attributes:
        client: see `replica_client`.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        timeout: seconds for each whole answer.
        headers: sent with every request.
    """

    client: aiohttp.ClientSession
    base_url: str
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def get(self, path: str, limit: int) -> bytes:
        """GET `path` and return the body, at most `limit` bytes, of its answer 200.

        aiohttp asks once more when the replica had closed the kept connection meanwhile.

        Raises:
            ProbeError: whatever else happened.
        """
        return await self._asked(path, None, limit, self.timeout)

    async def post(self, path: str, json_body: Any, limit: int, timeout: float) -> bytes:  # noqa: ASYNC109
        """POST `json_body` to `path` and return the body, at most `limit` bytes, of its answer 200.

        As with `get`, a request that met a closed connection is sent once more, so it must be one that may be repeated.

        Args:
            timeout: seconds for the whole answer.

        Raises:
            ProbeError: whatever else happened.
        """
        return await self._asked(path, orjson.dumps(json_body), limit, timeout)

    async def _asked(self, path: str, data: bytes | None, limit: int, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await (self._answer("GET", path, limit) if data is None else self._repeated(path, data, limit))
        except ProbeError:
            raise
        except Exception as error:
            # A replica may send anything; no kind of junk must stop the one who asks.
            raise failure(error, path, seconds) from None

    async def _repeated(self, path: str, data: bytes, limit: int) -> bytes:
        """What aiohttp does for a GET."""
        try:
            return await self._answer("POST", path, limit, data)
        except aiohttp.ClientConnectorError:
            raise
        except _DROPPED:
            return await self._answer("POST", path, limit, data)

    async def _answer(self, method: str, path: str, limit: int, data: bytes | None = None) -> bytes:
        headers = {"content-type": "application/json", **self.headers} if data is not None else self.headers
        url = _url(self.base_url, path)
        async with self.client.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise refusal(response.status, path)
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
    """Parsed once for each replica and path: that would be a fifteenth of a request."""
    try:
        return URL(base_url + path)
    except ValueError as error:
        raise aiohttp.InvalidURL(base_url) from error


def refusal(status: int, path: str) -> ProbeError:
    """The error for an answer other than 200."""
    if status == 401:
        return ProbeError("Unauthorized", f"{path} answered 401", status)
    return ProbeError("HTTPError", f"{path} answered {status}", status)


def failure(error: BaseException, path: str, seconds: float) -> ProbeError:
    """What went wrong below HTTP. The chain of causes decides: aiohttp wraps what the system said."""
    chain = list(_causes(error))
    codes = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return ProbeError("ConnectionRefused", f"{path}: connection refused")
    if codes & _NO_FILES:
        return ProbeError("Unreachable", f"{path}: not asked, the operator may open no more files: raise that limit")
    if codes & _UNREACHABLE or any(isinstance(cause, aiohttp.ClientConnectorDNSError) for cause in chain):
        return ProbeError("Unreachable", f"{path}: no route to the pod")
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return ProbeError("Timeout", f"{path}: no answer within {seconds:g} s")
    if any(isinstance(cause, _CLOSED) for cause in chain):
        return ProbeError("Unreachable", f"{path}: the connection was closed without an answer")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ProbeError("Unreachable", f"{path}: the pod has no usable address")
    return ProbeError("HTTPError", f"{path}: the answer is not HTTP")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
