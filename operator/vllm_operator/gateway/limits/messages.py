"""Read and write the two messages of Envoy's rate limit service (envoy.service.ratelimit.v3).

They are so small that the protobuf library, which the image lacks, would take longer than this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OK, OVER_LIMIT = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Descriptor:
    """One descriptor of a call.

    Attributes:
        entries: its entries.
        hits: the amount to count; None where Envoy could not compute it.
    """

    entries: dict[str, str]
    hits: int | None = None


def read_request(raw: bytes) -> list[Descriptor]:
    """Return the descriptors of a RateLimitRequest.

    Raises:
        ValueError: the message is damaged.
    """
    return [_read_descriptor(value) for field, value in _fields(raw) if field == 2 and isinstance(value, bytes)]


def write_response(code: int, headers: tuple[tuple[str, str], ...] = (), body: str = "") -> bytes:
    """Return a RateLimitResponse."""
    parts = [b"\x08", _varint(code)]
    for key, value in headers:
        header = _bytes(1, key.encode()) + _bytes(2, value.encode())
        parts.append(_bytes(3, header))
    if body:
        parts.append(_bytes(5, body.encode()))
    return b"".join(parts)


def _read_descriptor(raw: bytes) -> Descriptor:
    entries: dict[str, str] = {}
    hits: int | None = None
    for field, value in _fields(raw):
        if field == 1 and isinstance(value, bytes):
            pair = dict(_fields(value))
            key, text = pair.get(1, b""), pair.get(2, b"")
            if isinstance(key, bytes) and isinstance(text, bytes):
                entries[key.decode(errors="replace")] = text.decode(errors="replace")
        elif field == 3 and isinstance(value, bytes):
            number = dict(_fields(value)).get(1, 0)
            hits = number if isinstance(number, int) else None
    return Descriptor(entries, hits)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        kind = tag & 7
        if kind == _VARINT:
            number, at = _read_varint(raw, at)
            yield tag >> 3, number
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, at = _read_varint(raw, at)
            if at + size > len(raw):
                raise ValueError("a field is longer than its message")
            yield tag >> 3, raw[at : at + size]
            at += size
        else:
            raise ValueError(f"unknown type of field {kind}")


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(raw):
            raise ValueError("the message ends early")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number has more than 64 bits")


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
