"""The events of one streamed HTTP answer, with what is wrong with it as an error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from vllm_operator.client.config import Limits
from vllm_operator.client.error_parsing import error_from_answer, error_from_event
from vllm_operator.client.errors import InvalidResponse, StreamInterrupted, VLLMClientError
from vllm_operator.client.sse import EventParser
from vllm_operator.client.transport import HttpResponse

DONE = b"[DONE]"
"""Data of the last event of a stream."""
CLOSING_SECONDS = 0.2
"""Seconds to wait for the end of the body after the last event, so that the connection can be used again."""


class EventSource:
    """Reads the events of one answer."""

    def __init__(self, response: HttpResponse, limits: Limits) -> None:
        self._response = response
        self._parser = EventParser(limits.max_event_bytes, limits.max_response_bytes)
        self._loop = asyncio.get_running_loop()
        self.endpoint = response.endpoint
        self._error: VLLMClientError | None = None
        self.done = False

    async def check(self) -> None:
        """Raise the error for an answer that is no stream of events."""
        response = self._response
        if response.status != 200:
            body = await response.read_start()
            raise error_from_answer(response.status, response.headers, body, self.endpoint)
        kind = response.headers.get("Content-Type", "")
        if not kind.startswith("text/event-stream"):
            response.close()
            raise InvalidResponse(
                f"{self.endpoint} answers 200 with {kind[:80]!r} instead of a stream of events; is this a vLLM?",
                endpoint=self.endpoint,
            )

    async def chunks(self) -> list[Mapping[str, Any]]:
        """Return the chunks of the events that arrive next; `done` is True after the last one.

        Raises:
            StreamInterrupted: the stream ended without its last event.
            VLLMClientError: an event reports an error, or is none of vLLM's.
        """
        if self._error is not None:
            raise self._error
        data = await self._response.next_chunk()
        if not data:
            raise StreamInterrupted(
                f"{self.endpoint} ended the stream before the answer was complete", endpoint=self.endpoint
            )
        chunks: list[Mapping[str, Any]] = []
        for event in self._events(data):
            if event == DONE:
                self.done = True
                break
            try:
                chunks.append(self._chunk(event))
            except VLLMClientError as error:
                if not chunks:
                    raise
                # The chunks before it are still good: the error comes with the next call.
                self._error = error
                break
        return chunks

    async def finish(self) -> None:
        """Read the end of the body, so that the connection can be used again; close it if there is more."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                if await self._response.next_chunk():
                    self._response.close()
        except (TimeoutError, VLLMClientError):
            self._response.close()
        finally:
            self._response.close()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()

    def close_from_any_thread(self) -> None:
        """Close the connection, from outside of the event loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._response.close)

    def _events(self, data: bytes) -> list[bytes]:
        try:
            return self._parser.feed(data)
        except VLLMClientError as error:
            error.endpoint = self.endpoint
            raise

    def _chunk(self, event: bytes) -> Mapping[str, Any]:
        try:
            chunk = orjson.loads(event)
        except orjson.JSONDecodeError as error:
            raise InvalidResponse(
                f"{self.endpoint} sends an event without valid JSON: {error}", endpoint=self.endpoint
            ) from None
        if not isinstance(chunk, dict):
            raise InvalidResponse(f"{self.endpoint} sends an event that is no JSON object", endpoint=self.endpoint)
        if "error" in chunk or chunk.get("object") == "error":
            raise error_from_event(chunk, self.endpoint)
        return chunk
