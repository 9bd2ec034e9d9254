from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.client import ResponseTooLarge
from vllm_operator.client.sse import EventParser


def parser(event: int = 1000, stream: int = 10_000) -> EventParser:
    return EventParser(event, stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": ping\n\ndata: a\n\n", [b"a"]),
        (b"event: message\nid: 1\ndata: a\nretry: 3\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: a\n\ndata: b\ndata: c\n\n", [b"a", b"b\nc"]),
        (b"data: a\n\n: ping\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data\n\n", [b""]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_do_not_depend_on_how_the_bytes_arrive(stream: bytes, events: list[bytes], size: int) -> None:
    reader = parser()

    found = [event for i in range(0, len(stream), size) for event in reader.feed(stream[i : i + size])]

    assert found == events


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=8), st.data())
def test_any_split_gives_the_same_events(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = EventParser(10**6, 10**6)

    found = [e for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for e in reader.feed(stream[a:b])]

    assert found == [text.encode() for text in texts]


def test_unfinished_event_is_pending() -> None:
    reader = parser()
    reader.feed(b"data: a\n")

    assert reader.pending


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100, b"x" * 101, b"data: " + b"x" * 100 + b"\n"])
def test_endless_event_is_refused(piece: bytes) -> None:
    with pytest.raises(ResponseTooLarge, match="max_event_bytes"):
        parser(event=100).feed(piece + b"y")


def test_endless_stream_is_refused() -> None:
    reader = parser(stream=50)

    for _ in range(6):
        reader.feed(b": ping\n\n")
    with pytest.raises(ResponseTooLarge, match="max_response_bytes"):
        reader.feed(b": ping\n\n")
