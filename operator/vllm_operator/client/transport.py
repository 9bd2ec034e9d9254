"""HTTP to the server: connections of aiohttp, their errors as errors of the client, answers within bounds."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import (
    ClientClosed,
    ConnectionFailed,
    ConnectionRefused,
    InvalidResponse,
    RequestTimeout,
    ResponseTooLarge,
    RetryAdvice,
    VLLMClientError,
)

DEFAULT_HEADERS = {
    "User-Agent": "vllm-operator-client",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
"""Headers of every request, unless it has its own."""


class HttpRequest(NamedTuple):
    """A request to any endpoint.

    Attributes:
        method: HTTP method.
        path: path below the base URL, with a slash at the start, and with the query.
        body: JSON, or None.
        headers: headers in addition to those of the configuration.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


class HttpResponse:
    """An answer whose body is not read yet. Read it to its end, or close it: the connection is lent until then."""

    __slots__ = ("_limit", "_response", "endpoint")

    def __init__(self, response: aiohttp.ClientResponse, endpoint: str, limit: int) -> None:
        self._response = response
        self._limit = limit
        self.endpoint = endpoint

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Headers of the answer."""
        return self._response.headers

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            ResponseTooLarge: it has more bytes than `limits.max_response_bytes`.
            ConnectionFailed: the connection broke.
        """
        try:
            length = self._response.content_length
            if length is not None and length <= self._limit:
                return await self._response.read()
            return await self._read_bounded(length)
        except (aiohttp.ClientError, RuntimeError) as error:
            self.close()
            raise error_of(error, self.endpoint) from error
        except BaseException:
            self.close()
            raise

    async def _read_bounded(self, length: int | None) -> bytes:
        body = bytearray()
        while length is None:
            chunk = await self._response.content.readany()
            if not chunk:
                return bytes(body)
            body += chunk
            if len(body) > self._limit:
                break
        raise ResponseTooLarge(
            f"{self.endpoint} answers with more than {self._limit:,} bytes (limits.max_response_bytes)",
            endpoint=self.endpoint,
        )

    async def read_start(self, limit: int = 64 * 1024) -> bytes:
        """Return the first bytes of a body, such as that of an error, and close the connection if there are more."""
        body = bytearray()
        try:
            while len(body) < limit and (chunk := await self.next_chunk()):
                body += chunk
        finally:
            self.close()
        return bytes(body[:limit])

    async def next_chunk(self) -> bytes:
        """Return the next bytes of the body; none at its end.

        Raises:
            ConnectionFailed: the connection broke.
        """
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, RuntimeError) as error:
            # aiohttp raises a RuntimeError for a body that it gave up reading.
            self.close()
            raise error_of(error, self.endpoint) from error

    def close(self) -> None:
        """Close the connection, unless the body was read to its end: the server sees that nobody waits for more."""
        if not self._response.content.at_eof():
            self._response.close()


class Transport:
    """The connections of a client in one event loop."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self.limits = config.limits
        # As headers of the session, aiohttp copies them at once instead of adding them to each request one by one.
        self._headers = {**DEFAULT_HEADERS, **config.headers}
        self._ssl = _ssl_context(config)
        self._closed = False
        self._session = self._new_session(force_close=False)
        self._fresh: aiohttp.ClientSession | None = None

    def _new_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        limits, timeouts = self._config.limits, self._config.timeouts
        if force_close:
            connector = aiohttp.TCPConnector(limit=limits.max_connections, ssl=self._ssl, force_close=True)
        else:
            connector = aiohttp.TCPConnector(
                limit=limits.max_connections, ssl=self._ssl, keepalive_timeout=limits.keepalive
            )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
            auto_decompress=False,
            headers=self._headers,
        )

    async def send(self, endpoint: str, request: HttpRequest, *, fresh: bool = False) -> HttpResponse:
        """Send a request and return the answer, once its headers are there.

        Args:
            endpoint: base URL.
            request: the request.
            fresh: use a new connection, which a load balancer may send to another replica.

        Raises:
            ConnectionFailed: no connection, or no answer on it.
            RequestTimeout: no connection within `timeouts.connect`.
            InvalidResponse: the answer is no HTTP, or compressed.
        """
        if self._closed:
            raise ClientClosed("the client is closed: make a new one")
        session = self._session_for(fresh)
        try:
            response = await session.request(
                request.method,
                _url(endpoint, request.path),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, UnicodeError) as error:
            # A host name that DNS cannot have is a UnicodeError.
            raise error_of(error, endpoint, self._config.timeouts.connect) from error
        if response.status == 101:
            # aiohttp neither reads nor returns such a connection.
            response.close()
            raise InvalidResponse(
                f"{endpoint} answers 101: it switches to another protocol, which was not asked for", endpoint=endpoint
            )
        _refuse_compression(response, endpoint)
        return HttpResponse(response, endpoint, self._config.limits.max_response_bytes)

    def _session_for(self, fresh: bool) -> aiohttp.ClientSession:
        if not fresh:
            return self._session
        if self._fresh is None:
            self._fresh = self._new_session(force_close=True)
        return self._fresh

    def abandon(self) -> None:
        """Close all connections without an event loop: theirs has ended."""
        self._closed = True
        for session in (self._session, self._fresh):
            if session is not None and (connector := session.connector) is not None:
                session.detach()
                # Its first step closes the sockets; nothing can wait for the rest, since the loop has ended.
                closing = connector.close().__await__()
                with contextlib.suppress(StopIteration, RuntimeError):
                    next(closing)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._session.close()
        if self._fresh is not None:
            await self._fresh.close()


@lru_cache(maxsize=1024)
def _url(endpoint: str, path: str) -> URL:
    return URL(endpoint + path, encoded=True)


def _ssl_context(config: ClientConfig) -> ssl.SSLContext | bool:
    if config.ca_file is None:
        return True
    return ssl.create_default_context(cafile=str(config.ca_file))


def _first_line(text: str) -> str:
    """Return the start of a message; the lines after the first show bytes of the server."""
    return text.partition("\n")[0].rstrip(":")[:200]


def _refuse_compression(response: aiohttp.ClientResponse, endpoint: str) -> None:
    """Raise an error for a compressed body: none was asked for, and its size is not bounded by the bytes received."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        response.close()
        raise InvalidResponse(
            f"{endpoint} answers with the encoding {encoding[:40]!r}, which was not asked for", endpoint=endpoint
        )


def error_of(error: Exception, endpoint: str, connect_seconds: float = 0.0) -> VLLMClientError:
    """Return the error of the client for one of aiohttp."""
    match error:
        case UnicodeError():
            failed = ConnectionFailed(f"{endpoint}: its host is no name of DNS: {error}", endpoint=endpoint)
            failed.advice = RetryAdvice.NEVER
            return failed
        case aiohttp.ConnectionTimeoutError():
            text = f"{endpoint} opens no connection within {connect_seconds:g} s (timeouts.connect)"
            return RequestTimeout(text, phase="connect", seconds=connect_seconds, endpoint=endpoint)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            failed = ConnectionFailed(
                f"{endpoint}: TLS fails: {error}; set ca_file to the authority's file", endpoint=endpoint
            )
            failed.advice = RetryAdvice.NEVER
            return failed
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return ConnectionRefused(
                f"{endpoint} refuses the connection: nothing listens there (yet)", endpoint=endpoint
            )
        case aiohttp.ClientConnectorError():
            return ConnectionFailed(f"{endpoint} cannot be reached: {error.os_error}", endpoint=endpoint)
        case aiohttp.ClientResponseError():
            return InvalidResponse(
                f"{endpoint} does not answer with HTTP: {_first_line(error.message)}", endpoint=endpoint
            )
        case aiohttp.ClientError() | RuntimeError():
            return ConnectionFailed(
                f"{endpoint} closed the connection before the answer was complete: {error}", endpoint=endpoint
            )
    return ConnectionFailed(f"{endpoint} cannot be reached: {error}", endpoint=endpoint)
