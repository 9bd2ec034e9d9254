"""What kopf is told of lists and watches that fail, over real HTTP on loopback."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator

import aiohttp
import orjson
import pytest
from aiohttp import web

from vllm_operator.__main__ import RECURSION_LIMIT
from vllm_operator.kopf_adapter import watch_middleware as module
from vllm_operator.kopf_adapter.watch_middleware import WatchMiddleware
from vllm_operator.kube.kinds import SERVER

PATH = SERVER.path("llm")
CRDS, NAMESPACES = module.DISCOVERED
EVENT = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'


class FakeApiServer:
    """Answers every path with what is told; notes how kopf's session then behaves.

    Attributes:
        status: of every answer.
        body: of every answer, as a stream for a watch.
        listed: kinds that were listed.
        pauses: seconds of every pause that was made.
        is_back: whether the API server comes back in each of them.
        known: resource versions of the servers that the caches hold.
        renewed: how often the credentials were to be renewed.
        broken: how calls ended that were not answered.
    """

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"items":[]}'
        self.listed: list[str] = []
        self.known: set[str] = set()
        self.renewed, self.is_back = 0, False
        self.pauses: list[float] = []
        self.broken: list[Exception] = []
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        stream = web.StreamResponse(status=self.status)
        await stream.prepare(request)
        for start in range(0, len(self.body), 7):
            await stream.write(self.body[start : start + 7])
        return stream

    async def get(self, path: str = PATH, **parameters: str) -> aiohttp.ClientResponse:
        return await self.session.get(f"http://127.0.0.1:{self.port}{path}", params=parameters)

    async def watched(self) -> bytes:
        """All that a watch tells, read in the way of kopf."""
        async with await self.get(watch="true") as response:
            assert response.status == 200
            return b"".join([chunk async for chunk in response.content.iter_chunked(1024 * 1024)])

    async def _wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return self.is_back

    async def _renew(self) -> None:
        self.renewed += 1

    async def _broke(self, error: Exception) -> str:
        self.broken.append(error)
        return "in plain words"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    fake = FakeApiServer()
    runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.port = runner.addresses[0][1]
    watches = WatchMiddleware(
        ["llm"],
        listed=lambda kind: fake.listed.append(kind.name),
        is_known=lambda kind, version: kind is SERVER and version in fake.known,
        wait=fake._wait,
        refused=fake._renew,
        broke=fake._broke,
    )
    async with aiohttp.ClientSession(middlewares=(watches,)) as fake.session:
        yield fake
    await runner.cleanup()


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    """As deep as the operator's process sets it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION_LIMIT)
    yield
    sys.setrecursionlimit(before)


async def test_list_is_noticed_even_when_it_is_empty(server: FakeApiServer) -> None:
    async with await server.get(limit="500") as response:
        assert await response.json(content_type=None) == {"items": []}
    assert server.listed == ["VLLMServer"]


async def test_watches_and_other_calls_are_no_lists(server: FakeApiServer) -> None:
    await server.watched()
    for path in ("/version", f"{PATH}/mistral", CRDS, SERVER.path("elsewhere")):
        (await server.get(path)).close()
    assert server.listed == []


@pytest.mark.parametrize("status", [403, 404, 500, 503])
@pytest.mark.parametrize("watch", ["true", "false"])
async def test_failure_is_one_after_which_kopf_begins_anew(server: FakeApiServer, status: int, watch: str) -> None:
    server.status = status
    with pytest.raises(aiohttp.ClientPayloadError, match=str(status)):
        await server.get(watch=watch)


async def test_what_kopf_knows_how_to_handle_is_left_to_it(server: FakeApiServer) -> None:
    server.status = 429
    assert (await server.get()).status == 429


@pytest.mark.parametrize("path", [PATH, CRDS, "/version"])
async def test_refused_credentials_are_renewed_before_kopf_begins_anew(server: FakeApiServer, path: str) -> None:
    server.status = 401
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
        await server.get(path)
    assert server.renewed == 1


@pytest.mark.parametrize("path", [CRDS, NAMESPACES])
async def test_kopf_is_told_what_it_may_not_watch_for_itself(server: FakeApiServer, path: str) -> None:
    server.status = 403
    assert (await server.get(path)).status == 403
    server.status = 500
    with pytest.raises(aiohttp.ClientConnectionError):
        await server.get(path)


async def test_half_a_list_is_a_failure(server: FakeApiServer) -> None:
    server.body = b'{"items":[{"metadata"'
    with pytest.raises(aiohttp.ClientPayloadError, match="half an answer"):
        await server.get()
    assert server.listed == []


@pytest.mark.usefixtures("deep_recursion")
async def test_list_of_the_deepest_object_is_a_list(server: FakeApiServer) -> None:
    """The API server takes 10,000 levels, orjson 1,024."""
    server.body = b'{"items":[' + b'{"a":' * 9990 + b"0" + b"}" * 9990 + b"]}"
    async with await server.get() as response:
        assert await response.read() == server.body
    assert server.listed == ["VLLMServer"]


async def test_list_that_is_nested_too_deep_to_be_read_is_a_failure(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_deep(raw: bytes) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(module, "unpacked", too_deep)
    with pytest.raises(aiohttp.ClientPayloadError, match="recursion"):
        await server.get()
    assert server.listed == []


async def test_events_pass_as_they_are(server: FakeApiServer) -> None:
    server.body = EVENT * 3
    assert await server.watched() == EVENT * 3


async def test_half_an_event_is_none(server: FakeApiServer) -> None:
    server.body = EVENT + EVENT[:20]
    assert await server.watched() == EVENT


@pytest.mark.parametrize("spaces", [True, False])
async def test_error_event_ends_the_watch_with_the_wish_to_list_again(server: FakeApiServer, spaces: bool) -> None:
    status = {"kind": "Status", "code": 500, "reason": "InternalError"}
    error = json.dumps({"type": "ERROR", "object": status}, separators=None if spaces else (",", ":"))
    server.body = EVENT + error.encode() + b"\n" + EVENT
    first, told = (await server.watched()).splitlines()

    assert first + b"\n" == EVENT
    assert json.loads(told)["type"] == "ERROR"
    assert json.loads(told)["object"]["code"] == 410


async def test_object_that_speaks_of_errors_is_no_error(server: FakeApiServer) -> None:
    server.body = b'{"type":"ADDED","object":{"spec":{"type":"ERROR"},"note":"{\\"type\\":\\"ERROR\\""}}\n'
    assert await server.watched() == server.body


async def test_410_instead_of_a_watch_is_the_wish_to_list_again(server: FakeApiServer) -> None:
    server.status = 410
    assert json.loads(await server.watched())["object"]["code"] == 410


def are_about(pauses: list[float], planned: list[float]) -> None:
    """The jitter is a fifth to either side."""
    assert len(pauses) == len(planned)
    for pause, plan in zip(pauses, planned, strict=True):
        assert 0.8 * plan <= pause <= 1.2 * plan


async def test_pauses_grow_until_a_watch_tells_something(server: FakeApiServer) -> None:
    server.body = module.GONE
    for _ in range(9):
        await server.watched()
    server.body = EVENT
    await server.watched()
    server.body = b""
    await server.watched()

    are_about(server.pauses, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 0.25])


async def test_api_server_that_cannot_be_reached_is_tried_every_second(server: FakeApiServer) -> None:
    server.port = 1
    for _ in range(5):
        with pytest.raises(aiohttp.ClientPayloadError):
            await server.get()
    are_about(server.pauses, [0.25, 0.5, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("path", [PATH, CRDS, "/version"])
async def test_call_that_is_not_answered_is_told_in_plain_words(
    server: FakeApiServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.port = 1
    with pytest.raises(aiohttp.ClientError):
        await server.get(path)
    assert [type(error) for error in server.broken] == [aiohttp.ClientConnectorError]
    assert ("in plain words" in caplog.text) == (path != "/version"), "kopf tells of a single call by itself"


async def test_pauses_begin_anew_when_the_api_server_is_back(server: FakeApiServer) -> None:
    server.status = 503
    for server.is_back in (False, False, True, False):
        with pytest.raises(aiohttp.ClientPayloadError):
            await server.get()
    are_about(server.pauses, [0.25, 0.5, 1.0, 0.25])


async def test_bookmark_soon_after_an_event_is_kept_back(server: FakeApiServer) -> None:
    """It would step over events that were lost on the way."""
    bookmark = EVENT.replace(b"ADDED", b"BOOKMARK")
    server.body = EVENT + bookmark
    assert (await server.watched()).split() == EVENT.split()


async def test_bookmark_after_a_long_silence_is_passed_on(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPLAY_SECONDS", 0.0)
    server.body = EVENT + EVENT.replace(b"ADDED", b"BOOKMARK")
    assert await server.watched() == server.body


def told(kind: str, version: str, **metadata: str) -> bytes:
    """An event as the API server sends it: the members of a custom resource come in the order of the alphabet."""
    body = {"metadata": {**metadata, "resourceVersion": version}, "spec": {"resourceVersion": "7"}}
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


async def test_what_the_caches_hold_already_is_not_told_to_kopf(server: FakeApiServer) -> None:
    server.known = {"7", "8"}
    server.body = told("MODIFIED", "8") + told("MODIFIED", "9") + told("ADDED", "8")

    assert (await server.watched()).split() == [told("MODIFIED", "9").strip()]


async def test_deletion_is_told_whatever_is_known(server: FakeApiServer) -> None:
    server.known = {"8"}
    server.body = told("DELETED", "8")

    assert await server.watched() == server.body


async def test_version_inside_of_a_text_is_none(server: FakeApiServer) -> None:
    server.known = {"7", "8"}
    server.body = told("MODIFIED", "9", annotation='{"resourceVersion":"8"}')

    assert await server.watched() == server.body
