"""Test which Events are requested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from vllm_operator.errors import ResponseTooLargeError
from vllm_operator.kube.object_events import (
    FEW_EVENTS,
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_EVENTS_BYTES,
    MAX_MESSAGE_CHARACTERS,
    list_events_of,
)
from vllm_operator.kube.raw_objects import RawList, cut_list


class FakeClient:
    """Return one page of Events, and keep the request."""

    def __init__(self, page: dict[str, Any], fits: int = MAX_EVENTS) -> None:
        self.page = page
        self.fits = fits
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    async def list_page(self, path: str, parameters: Mapping[str, str], max_bytes: int) -> RawList:
        self.requests.append((path, parameters))
        assert max_bytes == MAX_EVENTS_BYTES
        if int(parameters["limit"]) > self.fits:
            raise ResponseTooLargeError(max_bytes)
        return await cut_list(orjson.dumps(self.page))


@pytest.mark.parametrize("page", [{"items": [{"reason": "Failed"}]}, {"items": None}, {}], ids=["one", "null", "none"])
async def test_events_of_one_object_are_listed(page: dict[str, Any]) -> None:
    client = FakeClient(page)
    events = await list_events_of(client, "llm", "u1")  # type: ignore[arg-type]

    assert events == (page.get("items") or [])
    assert client.requests == [
        ("/api/v1/namespaces/llm/events", {"fieldSelector": "involvedObject.uid=u1", "limit": str(MAX_EVENTS)})
    ]


async def test_fewer_events_are_requested_where_all_are_too_large() -> None:
    client = FakeClient({"items": [{"reason": "Failed"}]}, fits=FEW_EVENTS)
    assert await list_events_of(client, "llm", "u1") == [{"reason": "Failed"}]  # type: ignore[arg-type]
    assert [parameters["limit"] for _, parameters in client.requests] == [str(MAX_EVENTS), str(FEW_EVENTS)]


async def test_long_message_is_cut_and_large_event_left_out() -> None:
    events = [{"message": "x" * 10_000}, {"message": "x" * MAX_EVENT_BYTES}, {"message": 7}]
    found = await list_events_of(FakeClient({"items": events}), "llm", "u1")  # type: ignore[arg-type]
    assert found == [{"message": "x" * MAX_MESSAGE_CHARACTERS}, {"message": 7}]
