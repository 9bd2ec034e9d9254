"""Read one HTTP/1.1 answer from the bytes of a connection, and count every byte of it.

A replica may send anything, so each part has a bound: its body, what surrounds the body, and the number of interim
answers. The time for each byte is bounded too: no byte is read more often than a few times.
"""

from __future__ import annotations

HEAD_LIMIT = 16 * 1024
"""Longest head (status line and headers), in bytes. vLLM's have 200."""

MAX_HEADERS = 128
"""Header lines of one head. vLLM sends 5."""

MAX_INTERIM = 8
"""Interim answers, such as `100 Continue`, before an answer. vLLM sends none."""

OVERHEAD_LIMIT = 32 * 1024
"""Bytes of an answer that are not its body: heads, interim answers, sizes of chunks, trailers. It also bounds how many
chunks there are, and the time that they take: 6,500, which are read in 10 ms."""

_CHUNK_LINE_LIMIT = 256
_LONGEST_NUMBER = 16
_EMPTY_STATUSES = {204, 304}
_HEX = frozenset(b"0123456789abcdefABCDEF")


class NotHttpError(Exception):
    """The bytes are no HTTP answer, or one beyond the bounds of this module."""


class BodyTooLongError(Exception):
    """The body of an answer is longer than the limit of its request."""


class HttpAnswer:
    """One answer, of which `feed` takes in the bytes as they arrive.

    Args:
        limit: longest body, in bytes.

    Attributes:
        status: the HTTP status; 0 until the head has arrived.
        is_reusable: another request may follow on the connection.
    """

    __slots__ = ("_chunked", "_head", "_interim", "_limit", "_overhead", "_parts", "_pending", "_remaining", "_size",
                 "_trailer", "is_complete", "is_reusable", "status")  # fmt: skip

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending = b""  # bytes of an unfinished head or line
        self._parts: list[bytes] = []
        self._size = 0
        self._overhead = 0
        self._interim = 0
        self._remaining: int | None = None  # bytes of the body, or of the present chunk, that are still to come
        self._chunked = False
        self._trailer = False
        self._head = True
        self.status = 0
        self.is_complete = False
        self.is_reusable = True

    @property
    def body(self) -> bytes:
        """The body as far as it arrived."""
        return b"".join(self._parts)

    @property
    def size(self) -> int:
        """Bytes of the body that arrived."""
        return self._size

    @property
    def has_begun(self) -> bool:
        """True when at least one byte arrived."""
        return bool(self.status or self._pending or self._interim)

    def feed(self, data: bytes) -> None:
        """Take in the next bytes.

        Raises:
            NotHttpError: they are no HTTP answer.
            BodyTooLongError: the body is beyond the limit.
        """
        if self._pending:
            data, self._pending = self._pending + data, b""
        at = 0
        while self._head:
            start = at
            at = self._read_head(data, at)
            if at < 0:
                self._pending = data[start:]
                return
        rest = self._read_chunks(data, at) if self._chunked else self._read_body(data, at)
        if self.is_complete and rest < len(data):
            self.is_reusable = False  # it sent more than was asked of it
        if self.status != 200 and not self.is_complete:
            # The status is all that counts. What is to come would be taken for the next answer.
            self.is_complete, self.is_reusable = True, False

    def feed_end(self) -> None:
        """Take in the end of the connection, which completes a body without a length."""
        self.is_reusable = False
        if not (self._head or self._chunked) and self._remaining is None:
            self.is_complete = True

    def _read_head(self, data: bytes, at: int) -> int:
        """Read one head from `at`; return where it ends, or -1 while its end is missing."""
        if not data.startswith(b"HTTP/1."[: len(data) - at], at):
            raise NotHttpError
        end = data.find(b"\r\n\r\n", at, at + HEAD_LIMIT)
        if end < 0:
            if len(data) - at >= HEAD_LIMIT:
                raise NotHttpError
            return -1
        self._count(end + 4 - at)
        lines = data[at:end].split(b"\r\n", MAX_HEADERS + 1)
        if len(lines) > MAX_HEADERS + 1:
            raise NotHttpError
        status = _status(lines[0])
        if 100 <= status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM or status == 101:
                raise NotHttpError
        else:
            self._head, self.status = False, status
            self._read_headers(lines)
        return end + 4

    def _read_headers(self, lines: list[bytes]) -> None:
        length: bytes | None = None
        connection = b"" if lines[0].startswith(b"HTTP/1.1") else b"close"
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                raise NotHttpError
            name, value = name.lower(), value.strip(b" \t")
            if name == b"content-length":
                if length not in {None, value}:
                    raise NotHttpError
                length = value
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise NotHttpError
                self._chunked = True
            elif name == b"connection":
                connection = value.lower()
        self.is_reusable = b"close" not in connection
        if self._chunked:
            self._remaining = None
        elif self.status in _EMPTY_STATUSES:
            self._remaining = 0
        elif length is not None:
            self._remaining = _decimal(length)

    def _read_body(self, data: bytes, at: int) -> int:
        """Read a body with a length, or one that the end of the connection ends."""
        if self._remaining is None:
            self._take(data[at:])
            self.is_reusable = False
            return len(data)
        if self.status == 200 and self._size + self._remaining > self._limit:
            raise BodyTooLongError
        part = data[at : at + self._remaining]
        self._take(part)
        self._remaining -= len(part)
        self.is_complete = not self._remaining
        return at + len(part)

    def _read_chunks(self, data: bytes, at: int) -> int:
        """Read the chunks from `at`; return where the answer ends, or the end of the data."""
        while not self.is_complete:
            if self._remaining:
                part = data[at : at + self._remaining]
                self._take(part)
                self._remaining -= len(part)
                at += len(part)
                if self._remaining:
                    return at
            end = data.find(b"\r\n", at, at + _CHUNK_LINE_LIMIT)
            if end < 0:
                if len(data) - at >= _CHUNK_LINE_LIMIT:
                    raise NotHttpError
                self._pending = data[at:]
                return len(data)
            self._read_line(data[at:end])
            at = end + 2
        return at

    def _read_line(self, line: bytes) -> None:
        """Read the line after a chunk, the size of the next one, or a trailer."""
        self._count(len(line) + 2)
        if self._trailer:
            self.is_complete = not line
        elif self._remaining == 0:  # the end of a chunk
            if line:
                raise NotHttpError
            self._remaining = None
        else:
            size = _hexadecimal(line.partition(b";")[0].strip(b" \t"))
            self._trailer, self._remaining = not size, size

    def _take(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit and self.status == 200:
            raise BodyTooLongError
        if part and self.status == 200:
            self._parts.append(part)

    def _count(self, size: int) -> None:
        self._overhead += size
        if self._overhead > OVERHEAD_LIMIT:
            raise NotHttpError


def _status(line: bytes) -> int:
    if line[7:9] not in {b"0 ", b"1 "} or not line[9:12].isdigit() or line[12:13] not in {b"", b" "}:
        raise NotHttpError
    status = int(line[9:12])
    if status < 100:
        raise NotHttpError
    return status


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _LONGEST_NUMBER:
        raise NotHttpError
    return int(digits)


def _hexadecimal(digits: bytes) -> int:
    digits = digits.lstrip(b"0") or digits[-1:]
    if not digits or len(digits) > _LONGEST_NUMBER or not _HEX.issuperset(digits):
        raise NotHttpError
    return int(digits, 16)
