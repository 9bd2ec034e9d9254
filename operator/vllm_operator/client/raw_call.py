"""Calls whose bodies this library does not read: those of the OpenAI SDK, with our endpoints, retries and timeouts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from vllm_operator.client.endpoints import EndpointLease
from vllm_operator.client.error_parsing import error_from_answer
from vllm_operator.client.errors import RequestTimeout, StreamInterrupted, StreamTimeout, VLLMClientError
from vllm_operator.client.executor import Call, Executor, Send
from vllm_operator.client.hooks import Operation
from vllm_operator.client.parsing import usage_of
from vllm_operator.client.responses import Usage
from vllm_operator.client.transport import HttpRequest, HttpResponse, Transport

OPERATIONS: dict[str, Operation] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/models": "models",
}
"""Paths of the OpenAI SDK -> operations, as observers know them; others are `raw`."""
TAIL_BYTES = 4096
"""Bytes at the end of a stream that are kept: the usage and the last event stand there."""
CLOSING_SECONDS = 0.5
"""Seconds to wait for the end of a body after its last event, so that the connection can be used again."""
_USAGE = re.compile(rb'^data: (\{.*"usage" ?: ?\{.*\})\s*$', re.MULTILINE)
_END = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
_HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as bytes.

    Attributes:
        method: HTTP method.
        path: path below the base URL, with the query.
        headers: all headers but the API key.
        body: the body.
        seconds: seconds for the whole call; None takes the configuration's.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as bytes: a whole body, or one that is streamed."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes
    stream: RawStream | None = None


class RawStream:
    """The body of a streamed answer."""

    def __init__(
        self, executor: Executor, call: Call, lease: EndpointLease, response: HttpResponse, first: bytes
    ) -> None:
        self._executor = executor
        self._call = call
        self._lease = lease
        self._response = response
        self._first: bytes | None = first
        self._tail = b""
        self._left = executor.config.limits.max_response_bytes
        self._must_end = call.info.operation in ("chat", "completions")
        self._loop = asyncio.get_running_loop()

    def __del__(self) -> None:
        # A stream that nobody closed: any thread may free it.
        if not self._call.finished:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._response.close)
            self._lease.close()
            self._executor.finish(self._call, "cancelled", usage=usage_in_events(self._tail))

    async def next_chunk(self) -> bytes:
        """Return the next bytes; none at the end.

        Raises:
            StreamInterrupted: the stream ended before its last event.
            StreamTimeout: nothing came within `timeouts.between_tokens` or `timeouts.whole`.
        """
        try:
            chunk = await self._received()
        except VLLMClientError as error:
            self._fail(error)
            raise
        except BaseException:
            self._end("cancelled")
            raise
        if not chunk:
            self._end("ok")
        return chunk

    async def aclose(self) -> None:
        """End the stream: before its end, the connection is closed and the engine ends the request."""
        if self._call.finished:
            return
        if _END.search(self._tail):
            await self._drain()
            self._end("ok")
        else:
            self._end("cancelled")

    def abandon(self) -> None:
        """End the stream from within the event loop, without waiting."""
        self._end("ok" if _END.search(self._tail) else "cancelled")

    async def _received(self) -> bytes:
        if self._first is not None:
            chunk, self._first = self._first, None
        else:
            chunk = await self._next_within()
        self._left -= len(chunk)
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]
        if not chunk and self._must_end and not _END.search(self._tail):
            raise StreamInterrupted(
                f"{self._call.endpoint} ended the stream before the answer was complete", endpoint=self._call.endpoint
            )
        if self._left < 0:
            raise StreamInterrupted("the stream is larger than limits.max_response_bytes", endpoint=self._call.endpoint)
        return chunk

    async def _next_within(self) -> bytes:
        call, seconds = self._call, self._call.timeouts.between_tokens
        now = asyncio.get_running_loop().time()
        times = [time for time in (call.deadline, None if seconds is None else now + seconds) if time is not None]
        try:
            async with asyncio.timeout_at(min(times, default=None)):
                return await self._response.next_chunk()
        except VLLMClientError:
            raise
        except TimeoutError:
            phase: Literal["whole", "between_tokens"] = "whole" if call.is_over() else "between_tokens"
            text = f"{call.endpoint} sends nothing further within timeouts.{phase}"
            raise StreamTimeout(text, phase=phase, endpoint=call.endpoint) from None

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._response.next_chunk()
        except (TimeoutError, VLLMClientError):
            pass

    def _fail(self, error: VLLMClientError) -> None:
        self._lease.broke()
        self._end("error", error)

    def _end(self, status: Literal["ok", "error", "cancelled"], error: VLLMClientError | None = None) -> None:
        self._response.close()
        self._lease.close()
        if not self._call.finished:
            self._executor.finish(self._call, status, error, usage_in_events(self._tail))


class RawCaller:
    """Sends raw requests with the endpoints, retries, timeouts and observers of a client."""

    def __init__(self, executor: Executor, transport: Callable[[], Transport]) -> None:
        self._executor = executor
        self._transport = transport

    async def send(self, raw: RawRequest) -> RawAnswer:
        """Return the answer, also one with an error status when no retry helped.

        Raises:
            VLLMClientError: there is no answer.
        """
        transport = self._transport()
        has_key = any(name.lower() == "authorization" for name in raw.headers)
        own = dict(raw.headers) if has_key else {**raw.headers, **self._executor.own_headers()}
        model, stream = described(raw.body)
        call = self._executor.start(
            OPERATIONS.get(raw.path.partition("?")[0], "raw"), model, raw.seconds, stream=stream
        )
        request = HttpRequest(raw.method, raw.path, raw.body, self._executor.headers(call, own))

        async def send(lease: EndpointLease, fresh: bool) -> RawAnswer:
            response = await transport.send(lease.endpoint.url, request, fresh=fresh)
            if response.status >= 400:
                body = await response.read_start()
                raise error_from_answer(response.status, response.headers, body, lease.endpoint.url, raw.path)
            answer = RawAnswer(response.status, forwarded(response.headers), b"")
            if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                return RawAnswer(answer.status, answer.headers, await response.read())
            first = await self._first_chunk(call, response)
            return RawAnswer(
                answer.status, answer.headers, b"", RawStream(self._executor, call, lease, response, first)
            )

        return await self._run(call, send)

    async def _run(self, call: Call, send: Send[RawAnswer]) -> RawAnswer:
        try:
            answer = await self._executor.run(call, send, lambda answer: answer.stream is not None)
        except VLLMClientError as error:
            error.attempts = max(1, call.attempts)
            self._executor.finish(call, "error", error)
            if error.answer is None:
                raise
            return RawAnswer(error.answer.status, forwarded(dict(error.answer.headers)), error.answer.body)
        except BaseException:
            self._executor.finish(call, "cancelled")
            raise
        if answer.stream is None:
            self._executor.finish(call, "ok", usage=usage_in_body(answer.content) if self._executor.observers else None)
        return answer

    async def _first_chunk(self, call: Call, response: HttpResponse) -> bytes:
        """Return the first bytes of a stream, while another attempt may still be made."""
        seconds = call.timeouts.first_token
        try:
            async with asyncio.timeout(seconds):
                first = await response.next_chunk()
        except VLLMClientError:
            raise
        except TimeoutError:
            response.close()
            text = f"{response.endpoint} sends no token within {seconds:g} s (timeouts.first_token)"
            raise RequestTimeout(
                text, phase="first_token", seconds=seconds or 0.0, endpoint=response.endpoint
            ) from None
        except BaseException:
            response.close()
            raise
        if not first:
            raise StreamInterrupted(f"{response.endpoint} ended the stream before it began", endpoint=response.endpoint)
        self._executor.first_token(call)
        return first


def forwarded(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the headers of an answer without those that belong to its connection."""
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP]


def described(body: bytes | None) -> tuple[str, bool]:
    """Return the model that a body names, and whether it asks for a stream; none for a body that is no JSON."""
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return "", False
    if not isinstance(value, dict):
        return "", False
    model = value.get("model")
    return model if isinstance(model, str) else "", value.get("stream") is True


def usage_in_body(content: bytes) -> Usage | None:
    """Return the usage of a whole answer; None when it has none."""
    try:
        value = orjson.loads(content)
        return usage_of(value.get("usage")) if isinstance(value, dict) else None
    except ValueError:
        return None


def usage_in_events(tail: bytes) -> Usage | None:
    """Return the usage in the last bytes of a stream; None when it has none."""
    found = _USAGE.findall(tail)
    return usage_in_body(found[-1]) if found else None
