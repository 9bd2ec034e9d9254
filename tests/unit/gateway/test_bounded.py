from __future__ import annotations

import asyncio
from unittest import mock

import aiohttp

from vllm_operator.gateway.bounded import read_bounded


async def test_parts_are_joined_up_to_the_limit() -> None:
    async def read(limit: int) -> bytes:
        content = aiohttp.StreamReader(mock.Mock(_reading_paused=False), 1024, loop=asyncio.get_running_loop())
        for part in (b"one ", b"two ", b"three"):
            content.feed_data(part)
        content.feed_eof()
        return await read_bounded(content, limit)

    assert await read(1000) == b"one two three"
    assert await read(6) == b"one tw"
