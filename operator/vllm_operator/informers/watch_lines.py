"""What a line of a watch tells, read without parsing it: an object is up to a hundred times as long."""

from __future__ import annotations

import re

_STATE = re.compile(rb'\s*\{\s*"type"\s*:\s*"(?:ADDED|MODIFIED)"')
_BOOKMARK = re.compile(rb'\s*\{\s*"type"\s*:\s*"BOOKMARK"')
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')


def state_version(line: bytes) -> str:
    """Resource version of the object whose state the line tells; empty for a deletion, or where it is not found.

    The first in the line is the object's own: its metadata come before its spec, and texts have their quotes escaped.
    """
    found = _VERSION.search(line) if _STATE.match(line) else None
    return found[1].decode() if found else ""


def is_bookmark(line: bytes) -> bool:
    """Whether the line only tells how far the watch has come."""
    return _BOOKMARK.match(line) is not None
