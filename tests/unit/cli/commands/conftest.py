"""The plugin against a fake API server with the servers of `plugin_world`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server
from tests.helpers.fake_vllm_server import FakeVLLMServer
from tests.helpers.plugin import Ended, plugin
from tests.helpers.plugin_world import answers
from vllm_operator.cli import tunnel

Run = Callable[..., Ended]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[FakeApiServer, str]]:
    with fake_api_server(answers(), tmp_path) as found:
        yield found


@pytest.fixture
def api(world: tuple[FakeApiServer, str]) -> FakeApiServer:
    return world[0]


@pytest.fixture
def run(world: tuple[FakeApiServer, str]) -> Run:
    """Run the plugin in the namespace `llm`."""

    def command(*words: str, **options: Any) -> Ended:
        return plugin(*words, "--kubeconfig", world[1], **options)

    return command


class FakeTunnel:
    """A tunnel that leads to the fake vLLM."""

    url = ""

    def __init__(self, *_: object) -> None:
        """Take what the tunnel takes."""

    def __enter__(self) -> FakeTunnel:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVLLMServer]:
    """A fake vLLM in a thread, which the tunnel leads to."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = FakeVLLMServer(words=("Hello", " \x1b[2Jworld"))
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    monkeypatch.setattr(FakeTunnel, "url", server.url)
    monkeypatch.setattr(tunnel, "PodTunnel", FakeTunnel)
    yield server
    asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
