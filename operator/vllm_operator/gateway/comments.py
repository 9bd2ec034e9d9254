"""Keep the line of a held stream open with comments of Server-Sent Events, for clients that ask for them.

The answer has begun by then, so Envoy can no longer try again: the agent sends the request back to Envoy by another
listener, and passes the answer on as it comes. Only such streams go through the agent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from vllm_operator.gateway.bounded import read_bounded
from vllm_operator.gateway.envoy.names import HOLD_HEADER

DEFAULT_SECONDS = 15
MAX_SECONDS = 60
"""Longest time between two comments: some proxies end a line that is silent for a minute."""
MAX_ERROR_BYTES = 65_536
"""Bytes of an answer that is no stream, which becomes an event."""
HOP_HEADERS = ("connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade", "expect")
COMMENT = b": the request waits for a replica\n\n"


def comment_seconds(headers: Mapping[str, str]) -> int:
    """Return the seconds between two comments; 0 when the client asks for none."""
    given = headers.get(HOLD_HEADER)
    if given is None:
        return 0
    if given.isascii() and given.isdigit() and len(given) <= 4:
        return min(max(int(given), 1), MAX_SECONDS)
    return DEFAULT_SECONDS


class CommentedStreams:
    """Sends held streams back to Envoy, and writes comments until their answers come.

    Args:
        socket: the Unix socket of Envoy's listener for them.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def answer(self, request: web.Request, seconds: int) -> web.StreamResponse:
        """Write comments every `seconds` until the answer comes, and then the answer."""
        body = await request.read()
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() != HOLD_HEADER)
        for name in HOP_HEADERS:
            headers.popall(name, None)
        sent = asyncio.create_task(self._send(request, headers, body))
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
            await response.prepare(request)
            while not sent.done():
                await response.write(COMMENT)
                await asyncio.wait({sent}, timeout=seconds)
            await _pass_on(request, sent, response)
            await response.write_eof()
            return response
        finally:
            sent.cancel()
            if sent.done() and not sent.cancelled() and sent.exception() is None:
                sent.result().close()

    async def _send(self, request: web.Request, headers: CIMultiDict[str], body: bytes) -> aiohttp.ClientResponse:
        if self._session is None:
            connector = aiohttp.UnixConnector(self._socket, limit=0, force_close=True)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        # The client's host is among the headers. In the URL it could name another path, or a user.
        url = f"http://gateway{request.rel_url.raw_path_qs}"
        return await self._session.request(request.method, url, data=body, headers=headers, allow_redirects=False)


async def _pass_on(
    request: web.Request, sent: asyncio.Task[aiohttp.ClientResponse], response: web.StreamResponse
) -> None:
    """Write the answer; one that is no stream, or breaks, becomes an event with an error."""
    try:
        answer = sent.result()
        if answer.status == 200 and answer.content_type == "text/event-stream":
            async for part in answer.content.iter_any():
                await response.write(part)
            return
        error = _error_of(answer.status, await read_bounded(answer.content, MAX_ERROR_BYTES))
    except aiohttp.ClientConnectorError:
        error = _error(503, "ServiceUnavailableError", "this pod of the gateway ends: try again")
    except aiohttp.ClientError:
        error = _error(502, "BadGateway", "the replica ended the connection")
    await response.write(error_event(request.path, error))


def _error(status: int, kind: str, message: str) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": status}


def _error_of(status: int, body: bytes) -> dict[str, Any]:
    """Return the error of an answer, in the form of the OpenAI API."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return {**_error(status, "Error", ""), **{name: error[name] for name in ("message", "type") if name in error}}
    return _error(status, "BadGateway", f"the replica answered {status}, and no stream")


def error_event(path: str, error: Mapping[str, Any]) -> bytes:
    """Return the events of an error, as clients of the API of a path read it."""
    if path.endswith("/v1/messages"):
        body: dict[str, Any] = {"type": "error", "error": {"type": error["type"], "message": error["message"]}}
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"
    if path.endswith("/v1/responses"):
        body = {"type": "error", "code": str(error["code"]), "message": error["message"], "param": None}
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\ndata: [DONE]\n\n"
