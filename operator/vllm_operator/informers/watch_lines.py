"""Read the resource version of a watch event without parsing its object, which is up to a hundred times as long."""

from __future__ import annotations

import re

_STATE = re.compile(rb'\s*\{\s*"type"\s*:\s*"(?:ADDED|MODIFIED)"')
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')


def state_version(line: bytes) -> str:
    """Return the resource version of the object that an ADDED or MODIFIED event reports; empty for any other line.

    The first match is the object's own version: metadata come before the spec, and quotes in texts are escaped.
    """
    found = _VERSION.search(line) if _STATE.match(line) else None
    return found[1].decode() if found else ""
