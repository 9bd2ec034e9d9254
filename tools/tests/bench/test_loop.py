"""The client leaves what exists as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tools.bench.loop import FastClient


class Recorded(FastClient):
    """A client whose API server has these paths."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.posted: list[str] = []

    async def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if method == "POST":
            self.posted.append(path)
        elif path not in self.paths:
            raise FileNotFoundError(path)
        return {}


@pytest.mark.parametrize(("there", "posts"), [((), 1), (("/api/v1/namespaces/scale",), 0)])
def test_namespace_of_the_setup_is_left_as_it_is(there: tuple[str, ...], posts: int) -> None:
    client = Recorded(*there)
    asyncio.run(client.namespace("scale"))
    assert client.posted == ["/api/v1/namespaces"] * posts
