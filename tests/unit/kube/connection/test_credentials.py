"""Test credentials that are replaced while they are used, over real HTTP on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from vllm_operator.kube import connection as module
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.connection import Connection


class FakeApiServer:
    """Accept requests with the one token.

    Attributes:
        accepted: the token.
        received: the tokens of all requests, in order.
    """

    def __init__(self) -> None:
        self.accepted = "old"
        self.received: list[str] = []
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.received.append(token)
        assert await request.text() in ("", "body"), "the body is complete, also the second time"
        return web.Response(status=200 if token == self.accepted else 401)


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    fake = FakeApiServer()
    runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
def kubeconfig(server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a kubeconfig with the accepted token."""
    path = tmp_path / "kubeconfig"
    path.write_text(config(server.url, "old"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr(module, "MIN_RENEW_INTERVAL_SECONDS", 0.0)
    return path


def config(server: str, token: str) -> str:
    return json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    })  # fmt: skip


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a service account's token."""
    path = tmp_path / "token"
    path.write_text("old\n")
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def status_of_a_call(connection: Connection) -> int:
    async with connection.session.post(connection.server, data=b"body") as response:
        return response.status


async def test_call_is_repeated_with_a_replaced_token(server: FakeApiServer, account: Path) -> None:
    async with ClientSession(middlewares=(module._TokenFile(account),)) as session:
        assert (await session.post(server.url, data=b"body")).status == 200
        write(account, "new\n")
        server.accepted = "new"

        assert (await session.post(server.url, data=b"body")).status == 200
    assert server.received == ["old", "old", "new"]


async def test_refused_token_is_sent_once(server: FakeApiServer, account: Path) -> None:
    server.accepted = "another"
    async with ClientSession(middlewares=(module._TokenFile(account),)) as session:
        assert (await session.post(server.url, data=b"body")).status == 401
    assert server.received == ["old"]


async def test_renew_reads_a_replaced_kubeconfig(server: FakeApiServer, kubeconfig: Path) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    write(kubeconfig, config(server.url, "new"))
    server.accepted = "new"
    assert await status_of_a_call(connection) == 401

    await connection.renew()
    assert await status_of_a_call(connection) == 200
    await connection.close()


async def test_incomplete_kubeconfig_changes_nothing(server: FakeApiServer, kubeconfig: Path) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    write(kubeconfig, config(server.url, "new")[:40])
    await connection.renew()

    assert await status_of_a_call(connection) == 200
    await connection.close()


async def test_refused_credentials_are_read_at_a_limited_rate(
    server: FakeApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_RENEW_INTERVAL_SECONDS", 60.0)
    connection = Connection(lambda *_: None, ApiServerAvailability())
    await connection.renew()
    session = connection.session
    write(kubeconfig, config(server.url, "new"))
    await connection.renew()

    assert connection.session is session
    await connection.close()


async def test_closing_another_session_keeps_the_connections(server: FakeApiServer, kubeconfig: Path) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    lent = connection.new_session()
    assert (await lent.get(server.url)).status == 200
    await lent.close()

    assert await status_of_a_call(connection) == 200
    await connection.close()


async def test_new_credentials_close_the_connections_of_all_sessions(server: FakeApiServer, kubeconfig: Path) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    lent = connection.new_session()
    write(kubeconfig, config(server.url, "new"))
    await connection.renew()

    assert lent.closed, "kopf takes this for the moment to ask for another session"
    await connection.close()


async def test_unchanged_credentials_break_no_connection(server: FakeApiServer, kubeconfig: Path) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    lent = connection.new_session()
    await connection.renew()

    assert not lent.closed
    await connection.close()
