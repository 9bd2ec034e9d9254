"""kopf starts and stops the manager, and does nothing else to the API server."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from vllm_operator.kopf_adapter import handlers as module
from vllm_operator.kopf_adapter.run import raise_file_limit, run_kopf


class FakeApiServer:
    """Answers kopf's discovery, and records the paths that kopf requests.

    Attributes:
        failures: how many requests are answered with 503 first.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.failures = 0
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path)
        if self.failures:
            self.failures -= 1
            return web.json_response({"kind": "Status", "code": 503}, status=503)
        return web.json_response({"versions": ["v1"], "groups": [], "resources": []})


class FakeManager:
    """A manager that records its start and its stop; it is the connection, too."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.calls: list[str] = []
        self.started, self.stop_flag = asyncio.Event(), asyncio.Event()

    @property
    def connection(self) -> FakeManager:
        return self

    def new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def start(self) -> None:
        self.calls.append("start")
        self.started.set()

    async def stop(self) -> None:
        self.calls.append("stop")
        self.stop_flag.set()


@pytest.fixture
async def api_server() -> AsyncIterator[FakeApiServer]:
    fake = FakeApiServer()
    runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the process of the tests as it is."""
    monkeypatch.setattr(module.gc_tuning, "tune", lambda: None)
    monkeypatch.setattr(module, "_limit_stop", lambda: None)
    monkeypatch.setattr(module, "SCAN_RETRY_SECONDS", 0.01)


async def run_until(manager: Any, stop: Callable[[asyncio.Event], None]) -> None:
    """Run kopf around the manager, and let `stop` end it after its start."""
    running = asyncio.create_task(run_kopf(manager))
    await asyncio.wait_for(manager.started.wait(), 10)
    await asyncio.sleep(0.2)
    assert not running.done()
    stop(manager.stop_flag)
    await asyncio.wait_for(running, 10)


def set_flag(stop_flag: asyncio.Event) -> None:
    stop_flag.set()


def send_sigterm(_: asyncio.Event) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("stop", [set_flag, send_sigterm], ids=["stop flag", "SIGTERM"])
async def test_manager_is_started_and_stopped_once(
    api_server: FakeApiServer, stop: Callable[[asyncio.Event], None]
) -> None:
    manager = FakeManager(api_server.url)
    await run_until(manager, stop)
    assert manager.calls == ["start", "stop"]


async def test_kopf_only_discovers_api_groups(api_server: FakeApiServer) -> None:
    """Every authenticated user may do so, whatever Roles there are."""
    await run_until(FakeManager(api_server.url), set_flag)
    assert sorted(set(api_server.paths)) == ["/api", "/api/v1", "/apis"]


async def test_discovery_that_fails_does_not_end_the_operator(api_server: FakeApiServer) -> None:
    api_server.failures = 12
    await run_until(FakeManager(api_server.url), set_flag)
    assert api_server.failures == 0


@pytest.fixture
def _soft_limit_of_a_container() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_soft_limit_of_a_container")
def test_file_limit_is_raised_to_the_hard_limit():
    raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
