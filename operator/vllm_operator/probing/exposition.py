"""Search the text of `/metrics` for single families, in a time that grows with its length alone, whatever it holds.

Every step is a search for a literal within a line that was cut before. No pattern is used: one with two repeats that
overlap needs hours for a body that its author chose.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_SERIES = 1024
"""Series of one family that are read. vLLM exports one for each engine, and its API server one for each path, method
and status: about a hundred."""

LINE_LIMIT = 4096
"""Longest line that is read, in bytes. The longest of vLLM 0.32, `vllm:cache_config_info`, has 1,063."""

VALUE_LIMIT = 64
"""Longest value of a series that is read, in bytes: a number has 24 at most."""


def read_series(body: bytes, family: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield labels and value of the series of one family, at most `MAX_SERIES`; leave out lines that are too long.

    vLLM exports the series of a family in one block.
    """
    with_labels, without = family + b"{", family + b" "
    start = _first_line(body, with_labels)
    if start < 0:
        start = _first_line(body, without)
    for _ in range(MAX_SERIES):
        if start < 0:
            return
        end = body.find(b"\n", start)
        stop = end if end >= 0 else len(body)
        if stop - start <= LINE_LIMIT:
            labels, _, value = body[start + len(family) : stop].rpartition(b" ")
            yield labels, value[:VALUE_LIMIT]
        start = end + 1 if end >= 0 and body.startswith((with_labels, without), end + 1) else -1


def _first_line(body: bytes, start: bytes) -> int:
    """Return the place of the first line that starts so; -1 without one."""
    if body.startswith(start):
        return 0
    before = body.find(b"\n" + start)
    return before + 1 if before >= 0 else -1


def read_label(labels: bytes, name: bytes) -> bytes | None:
    """Return the value of one label, at most `VALUE_LIMIT` bytes; None without that label.

    A quote within a value is escaped, so no value holds text that looks like another label.
    """
    for separator in (b"{", b","):
        start = separator + name + b'="'
        at = labels.find(start)
        if at >= 0:
            value, quote, _ = labels[at + len(start) : at + len(start) + VALUE_LIMIT].partition(b'"')
            return value if quote else None
    return None


def read_number(value: bytes | None) -> float | None:
    """Read a number; None for junk."""
    try:
        return float(value or b"")
    except ValueError:
        return None
