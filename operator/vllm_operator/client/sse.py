"""Server-sent events, as vLLM streams them: bytes in, the data of events out, within bounds."""

from __future__ import annotations

from vllm_operator.client.errors import ResponseTooLarge


class EventParser:
    """Splits a stream into events. Lines end with LF, CRLF or CR; comments and other fields than `data` are skipped."""

    def __init__(self, max_event_bytes: int, max_stream_bytes: int) -> None:
        self._max_event = max_event_bytes
        self._left = max_stream_bytes
        self._tail = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._first = True

    @property
    def pending(self) -> bool:
        """True while bytes of an unfinished event wait."""
        return bool(self._tail or self._data)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that a piece of the stream completes.

        Raises:
            ResponseTooLarge: the stream or an event has more bytes than allowed.
        """
        self._left -= len(chunk)
        if self._left < 0:
            raise ResponseTooLarge("the stream is larger than limits.max_response_bytes")
        if not self._tail and not self._data and (whole := self._whole_events(chunk)) is not None:
            self._first = False
            return whole
        self._tail += chunk
        # The tail is split only at a line end, so that a stream of single bytes costs no more than its length.
        events = self._split() if b"\n" in chunk or b"\r" in chunk else []
        if len(self._tail) + self._data_bytes > self._max_event:
            raise ResponseTooLarge("an event of the stream is larger than limits.max_event_bytes")
        return events

    def _whole_events(self, chunk: bytes) -> list[bytes] | None:
        """Return the data of a piece that holds whole events of one line, as vLLM sends them; None for another one."""
        if len(chunk) > self._max_event or not (chunk.startswith(b"data: ") and chunk.endswith(b"\n\n")):
            return None
        events = chunk[6:-2].split(b"\n\ndata: ")
        # With these line ends only, each event is one line.
        return events if chunk.count(b"\n") == 2 * len(events) and b"\r" not in chunk else None

    def _split(self) -> list[bytes]:
        buffer = bytes(self._tail)
        if self._first and len(buffer) >= 3:
            self._first = False
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        # A CR at the end may be the first half of a CRLF.
        held = b"\r" if buffer.endswith(b"\r") else b""
        body = buffer[: len(buffer) - len(held)]
        if b"\r" in body:
            body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = body.split(b"\n")
        self._tail = bytearray(rest + held)
        events: list[bytes] = []
        for line in lines:
            self._line(line, events)
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data = []
                self._data_bytes = 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._max_event:
                raise ResponseTooLarge("an event of the stream is larger than limits.max_event_bytes")
