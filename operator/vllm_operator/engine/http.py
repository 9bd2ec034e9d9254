"""HTTP to replicas: bounded in time and bytes, without proxies, redirects, cookies or compression."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from vllm_operator.api.observed import HealthReason

KEEP_ALIVE_SECONDS = 75.0
"""How long an idle connection is kept. vLLM closes its end after 5 s unless VLLM_HTTP_TIMEOUT_KEEP_ALIVE says more."""

_HEADERS = {"user-agent": "vllm-operator", "accept": "*/*", "accept-encoding": "identity"}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError, httpx.RemoteProtocolError)


class ProbeError(Exception):
    """A replica gave no usable answer.

    Args:
        reason: for `ReplicaHealth`.
        message: one line without secrets; never text that the replica sent.
    """

    def __init__(self, reason: HealthReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def replica_client() -> httpx.AsyncClient:
    """A client for any number of replicas over plain HTTP, each on a connection of its own that is kept alive."""
    return httpx.AsyncClient(
        transport=AiohttpTransport(client=_session, trust_env=False),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _session() -> aiohttp.ClientSession:
    # The caller bounds how many requests run at once; a limit here would let silent replicas queue up before others.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


@dataclass(frozen=True, slots=True)
class Replica:
    """How one replica is asked.

    Attributes:
        client: see `replica_client`.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        timeout: seconds for each whole answer.
        headers: sent with every request.
    """

    client: httpx.AsyncClient
    base_url: str
    timeout: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def get(self, path: str, limit: int) -> bytes:
        """GET `path` and return the body, at most `limit` bytes, of its answer 200.

        Raises:
            ProbeError: whatever else happened.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._read(path, limit)
        except ProbeError:
            raise
        except Exception as error:
            # A replica may send anything; no kind of junk must stop the one who asks.
            raise failure(error, path, self.timeout) from None

    async def _read(self, path: str, limit: int) -> bytes:
        body = bytearray()
        # The client's defaults play no part: a compressed answer could grow beyond any bound.
        request = httpx.Request(
            "GET",
            self.base_url + path,
            headers={**_HEADERS, **self.headers},
            extensions={"timeout": httpx.Timeout(self.timeout).as_dict()},
        )
        response = await self.client.send(request, stream=True, follow_redirects=False)
        try:
            if response.status_code != 200:
                raise refusal(response.status_code, path)
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > limit:
                    raise ProbeError("HTTPError", f"{path} answered with more than {limit} bytes")
        finally:
            await response.aclose()
        return bytes(body)


def refusal(status: int, path: str) -> ProbeError:
    """The error for an answer other than 200."""
    if status == 401:
        return ProbeError("Unauthorized", f"{path} answered 401")
    return ProbeError("HTTPError", f"{path} answered {status}")


def failure(error: BaseException, path: str, seconds: float) -> ProbeError:
    """What went wrong below HTTP.

    httpx-aiohttp maps refused and closed connections to `ConnectTimeout` alike, so the chain of causes decides.
    """
    chain = list(_causes(error))
    codes = {cause.errno for cause in chain if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return ProbeError("ConnectionRefused", f"{path}: connection refused")
    if codes & _UNREACHABLE or any(isinstance(cause, aiohttp.ClientConnectorDNSError) for cause in chain):
        return ProbeError("Unreachable", f"{path}: no route to the pod")
    if any(isinstance(cause, TimeoutError) for cause in chain) or _is_bare_timeout(error):
        return ProbeError("Timeout", f"{path}: no answer within {seconds:g} s")
    if any(isinstance(cause, _CLOSED) for cause in chain):
        return ProbeError("Unreachable", f"{path}: the connection was closed without an answer")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return ProbeError("Unreachable", f"{path}: the pod has no usable address")
    return ProbeError("HTTPError", f"{path}: the answer is not HTTP")


def _is_bare_timeout(error: BaseException) -> bool:
    return isinstance(error, httpx.TimeoutException) and error.__cause__ is None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
