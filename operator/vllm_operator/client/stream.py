"""Streamed answers: typed deltas, the whole answer at the end, and an error when the stream breaks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from vllm_operator.client.accumulator import Accumulator
from vllm_operator.client.endpoints import EndpointLease
from vllm_operator.client.errors import (
    InvalidResponse,
    RequestTimeout,
    StreamInterrupted,
    StreamTimeout,
    VLLMClientError,
)
from vllm_operator.client.event_source import EventSource
from vllm_operator.client.executor import Call, Executor
from vllm_operator.client.parsing import Json, describe
from vllm_operator.client.responses import CompletionResponse, Delta
from vllm_operator.client.transport import HttpRequest, Transport


@dataclass(frozen=True, slots=True)
class PreparedStream:
    """A streaming request, ready to be sent."""

    transport: Transport
    call: Call
    request: HttpRequest


class AsyncCompletionStream:
    """A streamed answer: iterate over it, then read `response`. It is sent at the first step.

    Leaving it early, or closing it, closes the connection: the engine ends the request.
    """

    def __init__(
        self,
        executor: Executor,
        prepare: Callable[[], Awaitable[PreparedStream]],
        to_delta: Callable[[Json], Delta],
    ) -> None:
        self._executor = executor
        self._prepare = prepare
        self._to_delta = to_delta
        self._accumulator = Accumulator(to_delta)
        self._prepared: PreparedStream | None = None
        self._source: EventSource | None = None
        self._lease: EndpointLease | None = None
        self._ready: deque[Delta] = deque()
        self._ended = False
        self._failure: VLLMClientError | None = None
        self._response: CompletionResponse | None = None
        self._token_after: float | None = None

    @property
    def response(self) -> CompletionResponse:
        """The whole answer, with its usage.

        Raises:
            StreamInterrupted: the stream has not been read to its end.
        """
        if self._response is None:
            raise StreamInterrupted("the stream was not read to its end", partial_content=self.content)
        return self._response

    @property
    def content(self) -> str:
        """The text of the first choice so far."""
        return self._accumulator.content

    async def collect(self) -> CompletionResponse:
        """Read the rest of the stream, and return the whole answer."""
        while await self.next_batch():
            pass
        return self.response

    async def open(self) -> Self:
        """Send the request, and wait for the first token."""
        if self._prepared is None:
            if self._ended:
                raise StreamInterrupted("the stream was closed before it was sent: start a new one")
            self._prepared = await self._prepare()
            await self._guarded(self._connect(self._prepared))
        return self

    async def next_batch(self) -> list[Delta]:
        """Return the deltas that have arrived, after waiting for one; none at the end of the stream."""
        await self.open()
        while not self._ready and not self._ended:
            await self._guarded(self._receive())
        if not self._ready:
            await self._drain()
        batch = list(self._ready)
        self._ready.clear()
        return batch

    async def aclose(self) -> None:
        """End the stream: before its end, the connection is closed and the engine ends the request."""
        self._abandon()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        if not self._ready:
            await self.open()
            while not self._ready:
                if self._ended:
                    await self._drain()
                    raise StopAsyncIteration
                await self._guarded(self._receive())
        return self._ready.popleft()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()

    def __del__(self) -> None:
        if self._source is not None:
            self._source.close_from_any_thread()
        if self._prepared is not None and not self._ended:
            self._finish("cancelled")

    async def _guarded(self, step: Awaitable[None]) -> None:
        """Run a step; a failed one ends the stream."""
        try:
            await step
        except VLLMClientError as error:
            self._finish("error", error)
            raise
        except BaseException:
            self._finish("cancelled")
            raise

    async def _connect(self, prepared: PreparedStream) -> None:
        await self._executor.run(prepared.call, self._send, lambda _: True)
        self._executor.first_token(prepared.call, self._token_after)
        if self._ended:
            self._complete()

    async def _send(self, lease: EndpointLease, fresh: bool) -> None:
        """Send one attempt, and read until its first token."""
        assert self._prepared is not None
        transport, call, request = self._prepared.transport, self._prepared.call, self._prepared.request
        self._accumulator, self._failure, self._token_after = Accumulator(self._to_delta), None, None
        seconds = call.timeouts.first_token
        source: EventSource | None = None
        try:
            async with asyncio.timeout(seconds):
                response = await transport.send(lease.endpoint.url, request, fresh=fresh)
                source = EventSource(response, transport.limits)
                await source.check()
                while not self._ready and not self._ended:
                    await self._read(source)
        except BaseException as error:
            if source is not None:
                source.close()
            if isinstance(error, TimeoutError) and not isinstance(error, VLLMClientError):
                text = f"{lease.endpoint.url} sends no token within {seconds:g} s (timeouts.first_token)"
                raise RequestTimeout(
                    text, phase="first_token", seconds=seconds or 0.0, endpoint=lease.endpoint.url
                ) from None
            raise
        self._source, self._lease = source, lease

    async def _receive(self) -> None:
        """Read until the next delta; a stream that breaks starts again if the policy allows it."""
        assert self._source is not None
        assert self._lease is not None
        try:
            await self._receive_within(self._source)
            if self._ended:
                self._complete()
        except VLLMClientError as error:
            self._source.close()
            self._lease.broke()
            self._lease.close()
            if not self._may_restart(error):
                raise self._interrupted(error) from error
            await self._restart(error)

    async def _receive_within(self, source: EventSource) -> None:
        """Read until the next delta, or until the next timeout."""
        assert self._prepared is not None
        call = self._prepared.call
        seconds = call.timeouts.between_tokens
        now = asyncio.get_running_loop().time()
        times = [time for time in (call.deadline, None if seconds is None else now + seconds) if time is not None]
        try:
            async with asyncio.timeout_at(min(times, default=None)):
                while not self._ready and not self._ended:
                    await self._read(source)
        except VLLMClientError:
            raise
        except TimeoutError:
            if call.is_over():
                raise call.whole_timeout() from None
            raise RequestTimeout(
                f"{source.endpoint} sends no further token within {seconds:g} s (timeouts.between_tokens)",
                phase="between_tokens",
                seconds=seconds or 0.0,
                endpoint=source.endpoint,
            ) from None

    async def _read(self, source: EventSource) -> None:
        """Read what arrives next."""
        if self._failure is not None:
            raise self._failure
        chunks = await source.chunks()
        try:
            self._add(chunks, source)
        except VLLMClientError as error:
            if not self._ready:
                raise
            # The deltas before it are still good: the error comes with the next step.
            self._failure = error
            return
        self._ended = source.done

    def _add(self, chunks: Iterable[Json], source: EventSource) -> None:
        """Add chunks to the answer."""
        for chunk in chunks:
            try:
                self._ready.extend(self._accumulator.add(chunk))
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise InvalidResponse(
                    f"{source.endpoint} sends an event that is no piece of an answer: {describe(error)}",
                    endpoint=source.endpoint,
                ) from error
        if self._token_after is None and self._accumulator.has_token and self._prepared is not None:
            self._token_after = self._prepared.call.elapsed
        if source.done and not self._accumulator.is_complete:
            raise StreamInterrupted(
                f"{source.endpoint} ended the stream without a finish reason", endpoint=source.endpoint
            )
        if source.done and self._accumulator.is_aborted:
            raise StreamInterrupted(
                f"{source.endpoint}: the engine ended the request before its answer was complete",
                endpoint=source.endpoint,
            )

    def _complete(self) -> None:
        """End the call with its whole answer."""
        assert self._prepared is not None
        call = self._prepared.call
        self._response = self._accumulator.whole(call.elapsed, call.first_token_after, call.attempts, call.endpoint)
        self._finish("ok")

    def _may_restart(self, error: VLLMClientError) -> bool:
        assert self._prepared is not None
        policy = self._executor.config.retries
        call = self._prepared.call
        allowed = policy.restart_streams and error.retryable and not call.is_over()
        return allowed and call.attempts < policy.max_attempts and self._executor.budget.take_retry()

    async def _restart(self, error: VLLMClientError) -> None:
        """Send the request again from its beginning."""
        assert self._prepared is not None
        call = self._prepared.call
        self._executor.observers.request_retried(call.info, error, call.attempts, 0.0)
        await self._executor.run(call, self._send, lambda _: True)
        self._ready.appendleft(Delta(restarted=True))
        if self._ended:
            self._complete()

    def _interrupted(self, error: VLLMClientError) -> VLLMClientError:
        """Return the error for a stream that broke after its first token."""
        known = {"endpoint": error.endpoint, "partial_content": self.content}
        match error:
            case RequestTimeout(phase="between_tokens" | "whole"):
                return StreamTimeout(str(error), phase=error.phase, seconds=error.seconds, **known)
            case InvalidResponse():
                return error
            case StreamInterrupted():
                error.partial_content = self.content
                return error
        return StreamInterrupted(f"the stream broke after its first token: {error}", **known)

    async def _drain(self) -> None:
        """Read the end of the body, so that the connection can be used again: after all deltas were taken."""
        source, self._source = self._source, None
        if source is not None and self._response is not None:
            await source.finish()

    def _abandon(self) -> None:
        """Close the connection unless the stream has ended."""
        if self._source is not None:
            self._source.close()
        self._finish("cancelled")

    def _finish(self, status: Literal["ok", "error", "cancelled"], error: VLLMClientError | None = None) -> None:
        """Report the end of the call, and return the lease."""
        self._ended = True
        if self._lease is not None:
            self._lease.close()
        if self._prepared is not None:
            call = self._prepared.call
            if error is not None:
                error.attempts = max(1, call.attempts)
            if status != "ok" and self._source is not None:
                self._source.close_from_any_thread()
            self._executor.finish(call, status, error, self._accumulator.usage)
