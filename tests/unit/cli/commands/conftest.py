"""The plugin against a fake API server with the servers of `plugin_world`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server
from tests.helpers.plugin import Ended, plugin
from tests.helpers.plugin_world import answers

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
