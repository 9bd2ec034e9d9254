"""Read the body of an answer up to a number of bytes."""

from __future__ import annotations

import aiohttp


async def read_bounded(content: aiohttp.StreamReader, limit: int) -> bytes:
    """Return the first bytes of a body, at most `limit`. A single read returns what has come by then."""
    body = bytearray()
    while len(body) < limit and (part := await content.read(limit - len(body))):
        body += part
    return bytes(body)
