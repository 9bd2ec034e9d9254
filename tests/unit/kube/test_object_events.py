"""Test which Events are requested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from vllm_operator.kube.object_events import MAX_EVENTS, list_events_of


class FakeClient:
    """Return one page of Events, and keep the request."""

    def __init__(self, page: dict[str, Any]) -> None:
        self.page = page
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    async def list_page(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        self.requests.append((path, parameters))
        return self.page


@pytest.mark.parametrize("page", [{"items": [{"reason": "Failed"}]}, {"items": None}, {}], ids=["one", "null", "none"])
async def test_events_of_one_object_are_listed(page: dict[str, Any]) -> None:
    client = FakeClient(page)
    events = await list_events_of(client, "llm", "u1")  # type: ignore[arg-type]

    assert events == (page.get("items") or [])
    assert client.requests == [
        ("/api/v1/namespaces/llm/events", {"fieldSelector": "involvedObject.uid=u1", "limit": str(MAX_EVENTS)})
    ]
