"""Transports for httpx2, the HTTP client of the OpenAI SDK: its requests go through our client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx2

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.errors import (
    CircuitOpen,
    ClientClosed,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
    StreamInterrupted,
    VLLMClientError,
)
from vllm_operator.client.raw_call import RawAnswer, RawCaller, RawRequest, RawStream
from vllm_operator.client.sync_client import VLLMClient

NO_KEY = "no-key"
"""The key that the OpenAI SDK is given when there is none, since it demands one. It is not sent."""
_OWN_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})


class AsyncVLLMTransport(httpx2.AsyncBaseTransport):
    """Sends the requests of an `httpx2.AsyncClient` to the endpoints of a client, with its retries and observers.

    Args:
        client: the client. It is closed with the transport.
    """

    def __init__(self, client: AsyncVLLMClient) -> None:
        self._client = client
        self._caller = client.raw_caller()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request."""
        body = await request.aread()
        try:
            answer = await self._caller.send(_raw(request, body, self._client.config.base_urls[0]))
        except VLLMClientError as error:
            raise httpx_error(error, request) from error
        stream = None if answer.stream is None else AsyncRawByteStream(answer.stream, request)
        return _response(answer, stream)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()


class AsyncRawByteStream(httpx2.AsyncByteStream):
    """The body of a streamed answer."""

    def __init__(self, stream: RawStream, request: httpx2.Request) -> None:
        self._stream = stream
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._stream.next_chunk():
                yield chunk
        except VLLMClientError as error:
            raise httpx_error(error, self._request) from error

    async def aclose(self) -> None:
        """End the stream."""
        await self._stream.aclose()


class VLLMTransport(httpx2.BaseTransport):
    """Sends the requests of an `httpx2.Client` to the endpoints of a client, with its retries and observers.

    Args:
        client: the client. It is closed with the transport.
    """

    def __init__(self, client: VLLMClient) -> None:
        self._client = client

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request."""
        raw = _raw(request, request.read(), self._client.config.base_urls[0])
        try:
            answer = self._client.run(lambda client: client.raw_caller().send(raw))
        except VLLMClientError as error:
            raise httpx_error(error, request) from error
        stream = None if answer.stream is None else RawByteStream(answer.stream, request, self._client)
        return _response(answer, stream)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class RawByteStream(httpx2.SyncByteStream):
    """The body of a streamed answer."""

    def __init__(self, stream: RawStream, request: httpx2.Request, client: VLLMClient) -> None:
        self._stream = stream
        self._request = request
        self._client = client

    def __iter__(self) -> Iterator[bytes]:
        try:
            while chunk := self._client.run(lambda _: self._stream.next_chunk()):
                yield chunk
        except VLLMClientError as error:
            raise httpx_error(error, self._request) from error

    def close(self) -> None:
        """End the stream."""
        with contextlib.suppress(ClientClosed):
            self._client.run(lambda _: self._stream.aclose())


def httpx_error(error: VLLMClientError, request: httpx2.Request) -> httpx2.TransportError:
    """Return the error of httpx2 for one of ours, so that callers handle it as they are used to."""
    kind: type[httpx2.TransportError] = httpx2.NetworkError
    match error:
        case RequestTimeout(phase="connect"):
            kind = httpx2.ConnectTimeout
        case RequestTimeout():
            kind = httpx2.ReadTimeout
        case StreamInterrupted() | InvalidResponse():
            kind = httpx2.RemoteProtocolError
        case ConnectionFailed() | CircuitOpen():
            kind = httpx2.ConnectError
    return kind(str(error), request=request)


def _raw(request: httpx2.Request, body: bytes, base_url: str) -> RawRequest:
    """Return a request of httpx2 as ours, with its path below the base URL."""
    path = request.url.raw_path.decode("ascii")
    prefix = urlsplit(base_url).path
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
    if headers.get("authorization") == f"Bearer {NO_KEY}":
        del headers["authorization"]
    timeout = request.extensions.get("timeout", {})
    return RawRequest(request.method, path.removeprefix(prefix), headers, body or None, timeout.get("read"))


def _response(answer: RawAnswer, stream: httpx2.AsyncByteStream | httpx2.SyncByteStream | None) -> httpx2.Response:
    # As bytes: httpx2 takes text of ASCII only, and aiohttp keeps bytes that are no UTF-8 as surrogates.
    headers = [
        (name.encode(errors="surrogateescape"), text.encode(errors="surrogateescape")) for name, text in answer.headers
    ]
    if stream is None:
        return httpx2.Response(answer.status, headers=headers, content=answer.content)
    return httpx2.Response(answer.status, headers=headers, stream=stream)


__all__ = ["AsyncVLLMTransport", "RawCaller", "VLLMTransport", "httpx_error"]
