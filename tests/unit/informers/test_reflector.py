"""A watch resumes where it ended, lists again after an error that invalidates its version, and hides no object."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import orjson
import pytest

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.informers import reflector as module
from vllm_operator.informers.reflector import Reflector
from vllm_operator.informers.watch_source import RelistPolicy, WatchSource
from vllm_operator.kube.kinds import CHILD_KINDS, SERVER, Kind

SERVICE = CHILD_KINDS["Service"]


class NoMoreStreamsError(Exception):
    """All recorded streams were played."""


class FakeStreams:
    """Recorded watches: each is a list of chunks, and some end with an error."""

    def __init__(self, *streams: list[bytes | ApiError]) -> None:
        self._streams = list(streams)
        self.versions: list[str] = []
        self.selectors: list[str | None] = []

    async def stream(self, _: str, parameters: Mapping[str, str], __: float) -> AsyncGenerator[bytes]:
        if not self._streams:
            raise NoMoreStreamsError
        self.versions.append(parameters["resourceVersion"])
        self.selectors.append(parameters.get("labelSelector"))
        for piece in self._streams.pop(0):
            if isinstance(piece, ApiError):
                raise piece
            yield piece


def event(kind: str, version: int, name: str = "a", **more: Any) -> bytes:
    body = {"metadata": {"name": name, "resourceVersion": str(version)}, **more}
    return orjson.dumps({"type": kind, "object": body}) + b"\n"


def error(code: int) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": {"code": code, "reason": "R", "message": "m"}}) + b"\n"


class Scene:
    """A reflector over recorded streams; the lists that it makes have the versions 100, 200, ...

    Attributes:
        missing: numbers of the lists that find the kind missing.
        is_back: whether the API server comes back during each delay.
    """

    def __init__(
        self,
        *streams: list[bytes | ApiError],
        kind: Kind = SERVICE,
        is_served: Callable[[], bool] = lambda: True,
        known: frozenset[str] = frozenset(),
        **retry: float,
    ) -> None:
        self.streams, self.lists = FakeStreams(*streams), 0
        self.seen: list[tuple[str, str]] = []
        self.delays: list[float] = []
        self.missing, self.is_back = frozenset[int](), False
        source = WatchSource(kind, "/x", self.relist, is_served)
        policy = RelistPolicy(self.sleep, **retry)
        client: Any = self.streams
        self.reflector = Reflector(client, source, self.on_watch_event, known.__contains__, policy)

    async def relist(self) -> str:
        self.lists += 1
        return str(100 * self.lists) if self.lists not in self.missing else ""

    def on_watch_event(self, event_type: str, body: Mapping[str, Any]) -> None:
        if body["metadata"]["name"] == "unreadable":
            raise KeyError("spec")
        self.seen.append((event_type, body["metadata"]["name"]))

    async def sleep(self, seconds: float) -> bool:
        self.delays.append(seconds)
        await asyncio.sleep(0)
        return self.is_back

    async def play(self) -> None:
        """Run until all streams have ended."""
        with pytest.raises(NoMoreStreamsError):
            await self.reflector.run()


@pytest.fixture
def no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLAY_SECONDS", 0.0)


async def test_watch_starts_at_the_version_of_the_list() -> None:
    scene = Scene([event("ADDED", 101, "a"), event("DELETED", 102, "a")])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100"])
    assert scene.seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_filled_kind_is_not_listed_again() -> None:
    scene = Scene([])
    await scene.reflector.fill()
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100"])


@pytest.mark.usefixtures("no_replay")
async def test_watch_resumes_at_the_last_version() -> None:
    scene = Scene([event("MODIFIED", 150)], [event("BOOKMARK", 170)], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "150", "170"])
    assert scene.seen == [("MODIFIED", "a")], "a bookmark is no object"


@pytest.mark.parametrize(("replay", "resumed"), [(60.0, "101"), (0.0, "102")])
async def test_event_in_a_cached_version_is_skipped_and_moves_the_start_only_after_a_while(
    monkeypatch: pytest.MonkeyPatch, replay: float, resumed: str
) -> None:
    """It is the answer to our own write, and a foreign event before it may have been lost on the way."""
    monkeypatch.setattr(module, "REPLAY_SECONDS", replay)
    cut = NoAnswerError("Unreachable", "cut")
    scene = Scene([event("ADDED", 101), event("MODIFIED", 102, "b"), cut], [], known=frozenset({"102"}))
    await scene.play()

    assert scene.seen == [("ADDED", "a")]
    assert scene.streams.versions == ["100", resumed]


async def test_bookmark_soon_after_an_event_is_ignored() -> None:
    """It would skip events that were lost on the way."""
    scene = Scene([event("MODIFIED", 150), event("BOOKMARK", 170)], [event("MODIFIED", 160, "lost")])
    await scene.play()
    assert scene.streams.versions == ["100", "150"]
    assert scene.seen == [("MODIFIED", "a"), ("MODIFIED", "lost")]


@pytest.mark.parametrize("status", [None, 401, 403, 429, 503])
async def test_watch_resumes_without_a_list_after(status: int | None) -> None:
    scene = Scene([event("ADDED", 101), ApiError(status, "R", "m")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "101"])


@pytest.mark.parametrize("status", [404, 410, 500])
async def test_list_is_repeated_after(status: int) -> None:
    scene = Scene([ApiError(status, "R", "m")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (2, ["100", "200"])


@pytest.mark.parametrize("code", [410, 500])
async def test_list_is_repeated_after_an_error_event(code: int) -> None:
    scene = Scene([event("ADDED", 101), error(code), event("ADDED", 103, "after")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (2, ["100", "200"])
    assert scene.seen == [("ADDED", "a")]


async def test_events_are_joined_from_chunks() -> None:
    whole = event("ADDED", 101, "a", text="x" * 300_000) + event("ADDED", 102, "b")
    scene = Scene([whole[start : start + 65_536] for start in range(0, len(whole), 65_536)], [])
    await scene.play()
    assert scene.seen == [("ADDED", "a"), ("ADDED", "b")]
    assert scene.streams.versions == ["100", "102"]


async def test_event_that_is_cut_off_is_sent_again() -> None:
    scene = Scene([event("ADDED", 101, "a") + event("ADDED", 102, "b")[:20]], [event("ADDED", 102, "b")])
    await scene.play()
    assert scene.streams.versions == ["100", "101"]
    assert scene.seen == [("ADDED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b'{"type":"ADDED","object":{}}\n', b"<html>\n", b"\n"])
async def test_line_that_is_no_event_ends_the_watch(line: bytes) -> None:
    scene = Scene([event("ADDED", 101), line], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "101"])


async def test_object_that_cannot_be_read_hides_no_other() -> None:
    scene = Scene([event("ADDED", 101, "unreadable"), event("ADDED", 102, "b")])
    await scene.play()
    assert scene.seen == [("ADDED", "b")]


async def test_deep_or_large_object_is_reported_as_a_stub_and_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    deep = b'{"a":' * 9997 + b"1" + b"}" * 9997
    line = b'{"type":"ADDED","object":{"metadata":{"name":"deep","resourceVersion":"101"},"spec":' + deep + b"}}\n"
    scene = Scene([line, event("ADDED", 102, "large", spec={"x": "x" * 500_000}), event("ADDED", 103, "b")])
    await scene.play()
    assert scene.seen == [("ADDED", "deep"), ("ADDED", "large"), ("ADDED", "b")]
    assert "deep is not read" in caplog.text


async def test_annotation_that_looks_like_a_known_version_hides_no_change() -> None:
    body = {"metadata": {"annotations": {"resourceVersion": "77"}, "name": "a", "resourceVersion": "101"}}
    line = orjson.dumps({"type": "MODIFIED", "object": body}) + b"\n"
    scene = Scene([line], [], known=frozenset({"77"}))
    await scene.play()
    assert scene.seen == [("MODIFIED", "a")]
    assert scene.streams.versions == ["100", "101"]


async def test_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 1000)
    scene = Scene([event("ADDED", 101), *[b"x" * 100] * 20], [])
    await scene.play()
    assert scene.streams.versions == ["100", "101"]


async def test_optional_kind_that_is_not_installed_is_not_requested() -> None:
    served = False
    scene = Scene([event("ADDED", 101)], is_served=lambda: served, absent_seconds=0.001)
    playing = asyncio.create_task(scene.play())
    await asyncio.sleep(0.05)
    assert (scene.lists, scene.streams.versions) == (0, [])
    served = True
    await playing
    assert scene.seen == [("ADDED", "a")]


async def test_kind_whose_crd_is_missing_is_listed_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene([ApiError(404, "NotFound", "m")], [event("ADDED", 501)], kind=SERVER, absent_seconds=2.0, jitter=0.0)
    scene.missing = frozenset({2, 3, 4})
    await scene.play()

    assert scene.streams.versions == ["100", "500"]
    assert scene.seen == [("ADDED", "a")]
    assert scene.delays[1:4] == [2.0, 2.0, 2.0]
    messages = [record.getMessage() for record in caplog.records if "served" in record.getMessage()]
    assert messages == ["vllmservers: not served: is its CRD installed?", "vllmservers: served again"]


async def test_servers_are_watched_without_a_selector_and_children_with_the_label() -> None:
    for kind, selector in ((SERVER, None), (SERVICE, MANAGED_SELECTOR)):
        scene = Scene([], kind=kind)
        await scene.play()
        assert scene.streams.selectors == [selector]


async def test_list_that_fails_is_repeated_before_the_watch() -> None:
    scene = Scene([event("ADDED", 201)])
    relist, failures = (
        scene.relist,
        iter([ApiError(401, "Unauthorized", "m"), NoAnswerError("BadAnswer", "half a list")]),
    )

    async def failing() -> str:
        if error := next(failures, None):
            raise error
        return await relist()

    scene.reflector._source = dataclasses.replace(scene.reflector._source, relist=failing)
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100"])


UNREACHABLE = NoAnswerError("Unreachable", "m")


@pytest.mark.parametrize("is_back", [False, True])
async def test_delays_grow_until_the_api_server_is_back(is_back: bool) -> None:
    scene = Scene(*[[UNREACHABLE] for _ in range(9)], jitter=0.0)
    scene.is_back = is_back
    await scene.play()
    assert scene.delays == ([0.2] * 9 if is_back else [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0, 8.0])


@pytest.mark.parametrize(
    ("error", "longest"),
    [(UNREACHABLE, 1.0), (NoAnswerError("BadAnswer", "m"), 6.4), (ApiError(503, "ServiceUnavailable", "m"), 6.4)],
    ids=["unreachable", "half answers", "overloaded"],
)
async def test_only_an_unreachable_api_server_is_tried_more_often(error: ApiError, longest: float) -> None:
    scene = Scene(*[[error] for _ in range(6)], jitter=0.0, longest_unreachable_seconds=1.0)
    await scene.play()
    assert max(scene.delays) == longest


async def test_delay_that_the_api_server_requests_is_not_cut_short() -> None:
    scene = Scene([ApiError(429, "TooManyRequests", "m", 0.25)], jitter=0.0)
    scene.is_back = True
    began = asyncio.get_running_loop().time()
    await scene.play()
    assert asyncio.get_running_loop().time() - began >= 0.25
    assert scene.delays == [0.0]


async def test_bookmark_soon_after_a_list_is_ignored() -> None:
    scene = Scene([event("BOOKMARK", 170)], [])
    await scene.play()
    assert scene.streams.versions == ["100", "100"]


class TurnedClock:
    """A clock that the test turns, in place of the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("news", [event("MODIFIED", 150), event("BOOKMARK", 170), event("MODIFIED", 102), None])
async def test_cache_is_fresh_for_a_while_after_any_news(monkeypatch: pytest.MonkeyPatch, news: bytes | None) -> None:
    clock = TurnedClock()
    monkeypatch.setattr(module, "time", clock)
    scene = Scene([] if news is None else [news, NoAnswerError("Unreachable", "cut")], known=frozenset({"102"}))
    assert not scene.reflector.is_fresh
    await scene.reflector.fill()
    clock.now += module.FRESH_SECONDS + 1
    assert not scene.reflector.is_fresh
    await scene.play()
    assert scene.reflector.is_fresh
    clock.now += module.FRESH_SECONDS
    assert scene.reflector.is_fresh
    clock.now += 1
    assert not scene.reflector.is_fresh


async def test_watch_that_fails_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TurnedClock()
    monkeypatch.setattr(module, "time", clock)
    scene = Scene([NoAnswerError("Unreachable", "cut")], [ApiError(403, "Forbidden", "no")])
    await scene.reflector.fill()
    clock.now += module.FRESH_SECONDS + 1
    await scene.play()
    assert not scene.reflector.is_fresh
