"""The middleware inside vLLM: it lets a replica stop without losing a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_operator.in_replica import drain
from vllm_operator.in_replica.drain import PATH, Drain

TOKEN = "t" * 32
HEADERS = [(b"x-drain-token", TOKEN.encode())]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drain, "TOKEN", TOKEN)
    monkeypatch.setattr(drain, "FOLDER", str(tmp_path))
    for name in ("ENDPOINTS_SECONDS", "QUIET_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(drain, name, 0.01)


class FakeApp:
    """An application whose answers to /v1 wait until they may end."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.paths: list[str] = []
        self.state = SimpleNamespace()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        if scope["path"].startswith("/v1"):
            await self.may_end.wait()
        headers = [(b"Connection", b"keep-alive"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})


@dataclass
class Exchange:
    """One request, and what was sent back."""

    sent: list[Any] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def request(middleware: Drain, path: str, app: Any = None, headers: Any = (), query: bytes = b"") -> Exchange:
    exchange = Exchange()
    await middleware(scope(path, app, headers, query), exchange.receive, exchange.send)
    return exchange


def scope(path: str, app: Any = None, headers: Any = (), query: bytes = b"") -> dict[str, Any]:
    return {"type": "http", "path": path, "headers": list(headers), "query_string": query, "app": app}


async def leave(middleware: Drain, seconds: float = 5, app: Any = None) -> Exchange:
    return await request(middleware, PATH, app, HEADERS, f"timeout={seconds}".encode())


@asynccontextmanager
async def started(awaitable: Any) -> AsyncIterator[asyncio.Task[Exchange]]:
    """Start something in the background, and give it the time to get to its wait."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0.05)
    yield task
    await task


async def test_idle_replica_answers_the_kubelet() -> None:
    assert (await leave(Drain(FakeApp()))).body == b"idle\n"


@pytest.mark.parametrize("headers", [(), [(b"x-drain-token", b"wrong")]], ids=["no token", "wrong token"])
async def test_others_cannot_drain_a_replica(headers: Any) -> None:
    app = FakeApp()
    middleware = Drain(app)

    await request(middleware, PATH, headers=headers, query=b"timeout=5")

    assert app.paths == [PATH], "the application answers, with its 404"
    assert not middleware.is_draining()


async def test_nobody_can_drain_a_replica_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "TOKEN", "")
    app = FakeApp()

    await request(Drain(app), PATH, headers=[(b"x-drain-token", b"")], query=b"timeout=5")

    assert app.paths == [PATH]


async def test_kubelet_waits_for_a_running_request() -> None:
    app = FakeApp()
    middleware = Drain(app)
    async with started(request(middleware, "/v1/completions")) as running, started(leave(middleware)) as leaving:
        assert not leaving.done()
        app.may_end.set()
        await running
        assert (await leaving).body == b"idle\n"


async def test_answers_close_their_connections_only_while_draining() -> None:
    app = FakeApp()
    middleware = Drain(app)
    before = await request(middleware, "/models")
    async with started(request(middleware, "/v1/completions")) as running, started(leave(middleware)):
        during = await request(middleware, "/health")
        app.may_end.set()

    assert before.headers == {b"Connection": b"keep-alive", b"x-kept": b"1"}
    assert during.headers == {b"connection": b"close", b"x-kept": b"1"}
    assert (await running).headers[b"connection"] == b"close"


async def test_probes_do_not_count_as_requests() -> None:
    app = FakeApp()
    app.may_end.set()
    middleware = Drain(app)
    middleware.begin = pytest.fail  # type: ignore[assignment,method-assign]

    for path in drain.PROBES:
        await request(middleware, path)

    assert len(app.paths) == len(drain.PROBES)


async def test_timeout_ends_the_wait() -> None:
    app = FakeApp()
    middleware = Drain(app)
    async with started(request(middleware, "/v1/completions")):
        assert (await leave(middleware, seconds=0.1)).body == b"timeout\n"
        app.may_end.set()


async def test_no_timeout_stops_at_once() -> None:
    assert (await leave(Drain(FakeApp()), seconds=0)).body == b"timeout\n"


async def test_replica_stays_when_the_kubelet_hangs_up() -> None:
    app = FakeApp()
    middleware, exchange = Drain(app), Exchange()
    drains = scope(PATH, None, HEADERS, b"timeout=5")
    async with started(request(middleware, "/v1/completions")):
        async with started(middleware(drains, exchange.receive, exchange.send)):
            assert middleware.is_draining()
            exchange.gone.set()
        assert not middleware.is_draining()
        app.may_end.set()

    assert exchange.sent == []


async def test_request_that_fails_is_no_longer_counted() -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError

    middleware = Drain(broken)
    with pytest.raises(RuntimeError):
        await request(middleware, "/v1/completions")

    assert (await leave(middleware)).body == b"idle\n"


async def test_several_api_servers_of_a_replica_drain_together() -> None:
    """Only one of them gets the kubelet's request, and each counts its own."""
    app = FakeApp()
    first, second = Drain(app), Drain(app)
    async with started(request(second, "/v1/completions")) as running, started(leave(first)) as leaving:
        assert second.is_draining()
        assert not leaving.done()
        app.may_end.set()
        assert (await running).headers[b"connection"] == b"close"
        assert (await leaving).body == b"idle\n"


async def test_two_requests_of_a_kubelet_that_was_restarted_end_both() -> None:
    first, second = Drain(FakeApp()), Drain(FakeApp())

    bodies = [exchange.body for exchange in await asyncio.gather(leave(first), leave(second))]

    assert bodies == [b"idle\n", b"idle\n"]


async def test_idle_connections_are_closed_and_others_are_not() -> None:
    closed = []

    def connection(name: str, **fields: Any) -> Any:
        return SimpleNamespace(shutdown=lambda: closed.append(name), **fields)

    connections = [
        connection("fresh", cycle=None),
        connection("kept", cycle=SimpleNamespace(response_complete=True)),
        connection("running", cycle=SimpleNamespace(response_complete=False)),
        connection("websocket"),
    ]
    app = FakeApp()
    app.state.server = SimpleNamespace(server_state=SimpleNamespace(connections=connections))

    await leave(Drain(app), app=app)

    assert closed == ["fresh", "kept"]


async def test_replica_without_a_place_for_files_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "FOLDER", "/proc/none")
    app = FakeApp()
    middleware = Drain(app)
    async with started(request(middleware, "/v1/completions")), started(leave(middleware)) as leaving:
        assert middleware.is_draining()
        assert not leaving.done()
        app.may_end.set()
