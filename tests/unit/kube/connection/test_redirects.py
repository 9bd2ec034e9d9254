"""No request of the operator follows a redirect: its token and body stay with the API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from vllm_operator.errors import NoAnswerError
from vllm_operator.kube import connection as module
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection, RedirectError
from vllm_operator.kube.kinds import LEASE


class FakeHost:
    """Answers every request with a redirect to another host, or with an object where there is none."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[str] = []
        self.status, self.target = 200, ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.received.append(request.headers.get("Authorization", ""))
        if self.target:
            return web.Response(status=self.status, headers={"Location": self.target + request.path})
        return web.json_response({})


@pytest.fixture
async def hosts() -> AsyncIterator[tuple[FakeHost, FakeHost]]:
    """Return the API server that redirects, and the host that its answer names."""
    first, second, runners, urls = FakeHost(), FakeHost(), [], []
    for fake in (first, second):
        runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
    first.target = urls[1].replace("127.0.0.1", "localhost")
    first.url = urls[0]
    yield first, second
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def connection(
    hosts: tuple[FakeHost, FakeHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Connection]:
    """Return connections with a token of the kubeconfig, to which a middleware adds that of the service account."""
    config = {
        "clusters": [{"name": "c", "cluster": {"server": hosts[0].url}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    made = Connection(lambda *_: None, ApiServerAvailability())
    yield made
    await made.close()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_read_and_write_do_not_follow_a_redirect(
    hosts: tuple[FakeHost, FakeHost], connection: Connection, status: int
) -> None:
    hosts[0].status, client = status, ApiClient(connection)
    body = {"metadata": {"namespace": "a", "name": "b"}}

    for call in (client.get(LEASE, "a", "b"), client.create(LEASE, "a", body), client.apply(LEASE, body)):
        with pytest.raises(NoAnswerError, match="a redirect, which the operator does not follow"):
            await call
    with pytest.raises(NoAnswerError, match="redirect"):
        async for _ in client.stream("/watch", {}, 5.0):
            pass

    assert hosts[1].received == []
    assert len(hosts[0].received) == 4


async def test_token_of_the_service_account_does_not_follow_in_the_session_of_kopf_either(
    hosts: tuple[FakeHost, FakeHost], connection: Connection, tmp_path: Path
) -> None:
    hosts[0].status, token = 307, tmp_path / "token"
    token.write_text("account")
    connection._credentials = replace(connection._credentials, middlewares=(module._TokenFile(token),))
    lent = connection.new_session()

    with pytest.raises(RedirectError):
        await lent.post(connection.server, data=b"body")
    assert (hosts[0].received, hosts[1].received) == (["Bearer account"], [])
    await lent.close()
