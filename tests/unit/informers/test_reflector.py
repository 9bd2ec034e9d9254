"""A watch goes on from where it ended, lists again what expired, and hides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import orjson
import pytest

from vllm_operator.errors import ApiError, NoAnswerError
from vllm_operator.informers import reflector as module
from vllm_operator.informers.reflector import Reflector
from vllm_operator.kube.kinds import CHILD_KINDS

SERVICE = CHILD_KINDS["Service"]


class Done(Exception):
    """The fake has no more to tell."""


class FakeStreams:
    """Watches that were written down before: each a list of pieces, and an error at the end of some."""

    def __init__(self, *streams: list[bytes | ApiError]) -> None:
        self._streams = list(streams)
        self.versions: list[str] = []

    async def stream(self, _: str, parameters: Mapping[str, str], __: float) -> AsyncGenerator[bytes]:
        if not self._streams:
            raise Done
        self.versions.append(parameters["resourceVersion"])
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
    """A watch over written streams; the lists that it asks for have the versions 100, 200, ..."""

    def __init__(
        self,
        *streams: list[bytes | ApiError],
        is_served: Callable[[], bool] = lambda: True,
        known: frozenset[str] = frozenset(),
    ) -> None:
        self.streams, self.lists = FakeStreams(*streams), 0
        self.seen: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.is_back = False
        self.reflector = Reflector(
            SERVICE,
            self.streams,
            "/x",
            "l=v",
            self.relist,
            self.saw,
            self.pause,
            is_served,  # type: ignore[arg-type]
            known.__contains__,
        )

    async def relist(self) -> str:
        self.lists += 1
        return str(100 * self.lists)

    def saw(self, kind: str, body: Mapping[str, Any]) -> None:
        self.seen.append((kind, body["metadata"]["name"]))

    async def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        await asyncio.sleep(0)
        return self.is_back

    async def play(self) -> None:
        """Until there is no more to tell."""
        with pytest.raises(Done):
            await self.reflector.run()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "ABSENT_SECONDS"):
        monkeypatch.setattr(module, name, 0.001)


async def test_list_comes_first_and_the_watch_goes_on_from_it() -> None:
    scene = Scene([event("ADDED", 101, "a"), event("DELETED", 102, "a")])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100"])
    assert scene.seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_filled_kind_is_not_listed_again() -> None:
    scene = Scene([])
    await scene.reflector.fill()
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100"])


async def test_it_goes_on_from_the_last_version_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPLAY_SECONDS", 0.0)
    scene = Scene([event("MODIFIED", 150)], [event("BOOKMARK", 170)], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "150", "170"])
    assert scene.seen == [("MODIFIED", "a")], "a bookmark is no object"


async def test_what_the_answer_to_a_write_told_is_not_told_again_and_the_watch_goes_on_from_it() -> None:
    scene = Scene(
        [event("ADDED", 101), event("MODIFIED", 102, "b"), NoAnswerError("Cut", "cut")], [], known=frozenset({"102"})
    )
    await scene.play()

    assert scene.seen == [("ADDED", "a")]
    assert scene.streams.versions == ["100", "102"]


async def test_bookmark_soon_after_an_event_is_not_trusted() -> None:
    """It would step over events that were lost on the way."""
    scene = Scene([event("MODIFIED", 150), event("BOOKMARK", 170)], [event("MODIFIED", 160, "lost")])
    await scene.play()
    assert scene.streams.versions == ["100", "150"]
    assert scene.seen == [("MODIFIED", "a"), ("MODIFIED", "lost")]


@pytest.mark.parametrize("status", [None, 401, 403, 429, 503])
async def test_failure_is_no_reason_to_list_again(status: int | None) -> None:
    scene = Scene([event("ADDED", 101), ApiError(status, "R", "m")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "101"])


@pytest.mark.parametrize("status", [404, 410, 500])
async def test_what_expired_is_listed_again(status: int) -> None:
    scene = Scene([ApiError(status, "R", "m")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (2, ["100", "200"])


@pytest.mark.parametrize("code", [410, 500])
async def test_error_event_leads_to_a_list(code: int) -> None:
    scene = Scene([event("ADDED", 101), error(code), event("ADDED", 103, "after")], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (2, ["100", "200"])
    assert scene.seen == [("ADDED", "a")]


async def test_events_are_put_together_from_pieces() -> None:
    whole = event("ADDED", 101, "a", text="x" * 300_000) + event("ADDED", 102, "b")
    scene = Scene([whole[start : start + 65_536] for start in range(0, len(whole), 65_536)], [])
    await scene.play()
    assert scene.seen == [("ADDED", "a"), ("ADDED", "b")]
    assert scene.streams.versions == ["100", "102"]


async def test_half_an_event_comes_again() -> None:
    scene = Scene([event("ADDED", 101, "a") + event("ADDED", 102, "b")[:20]], [event("ADDED", 102, "b")])
    await scene.play()
    assert scene.streams.versions == ["100", "101"]
    assert scene.seen == [("ADDED", "a"), ("ADDED", "b")]


@pytest.mark.parametrize("line", [b"{}\n", b"[]\n", b'{"type":"ADDED","object":{}}\n', b"<html>\n", b"\n"])
async def test_what_is_no_event_ends_the_watch_without_harm(line: bytes) -> None:
    scene = Scene([event("ADDED", 101), line], [])
    await scene.play()
    assert (scene.lists, scene.streams.versions) == (1, ["100", "101"])


async def test_object_that_is_not_understood_hides_no_other() -> None:
    scene = Scene([event("ADDED", 101, "a"), event("ADDED", 102, "b")])
    told = scene.reflector._saw

    def saw(kind: str, body: Mapping[str, Any]) -> None:
        if body["metadata"]["name"] == "a":
            raise KeyError("spec")
        told(kind, body)

    scene.reflector._saw = saw
    await scene.play()
    assert scene.seen == [("ADDED", "b")]


async def test_kind_that_is_not_there_is_not_asked_for() -> None:
    served = False
    scene = Scene([event("ADDED", 101)], is_served=lambda: served)
    playing = asyncio.create_task(scene.play())
    await asyncio.sleep(0.05)
    assert (scene.lists, scene.streams.versions) == (0, [])
    served = True
    await playing
    assert scene.seen == [("ADDED", "a")]


@pytest.mark.parametrize("is_back", [False, True])
async def test_pauses_grow_until_the_api_server_is_back(monkeypatch: pytest.MonkeyPatch, is_back: bool) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 8.0)
    scene = Scene(*[[NoAnswerError("Unreachable", "m")] for _ in range(9)])
    scene.is_back = is_back
    await scene.play()
    assert (max(scene.pauses) > 6.0) is not is_back


async def test_pause_that_the_api_server_asks_for_is_not_cut_short() -> None:
    scene = Scene([ApiError(429, "TooManyRequests", "m", 0.05)])
    scene.is_back = True
    began = asyncio.get_running_loop().time()
    await scene.play()
    assert asyncio.get_running_loop().time() - began >= 0.05
    assert scene.pauses == [0.0]
