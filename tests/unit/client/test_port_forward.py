"""The managed port-forward, with a stand-in of kubectl that forwards to a stand-in of vLLM."""

from __future__ import annotations

import gc
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.paths import REPOSITORY
from tests.unit.client.batch.fake_engine import FakeEngineServer
from tests.unit.client.batch.in_thread import serving
from vllm_operator.client import port_forward
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import run_batch_threaded
from vllm_operator.client.config import ClientConfig, Limits
from vllm_operator.client.errors import ConnectionFailed
from vllm_operator.client.port_forward import PortForward
from vllm_operator.client.responses import CompletionResponse
from vllm_operator.client.sync_client import VLLMClient


class Kubectl:
    """The stand-in on the PATH."""

    def __init__(self, folder: Path) -> None:
        self._plan = folder / "plan.json"
        self._log = folder / "starts"

    def plan(self, **values: Any) -> None:
        self._plan.write_text(json.dumps({"log": str(self._log), **values}))

    @property
    def starts(self) -> list[list[str]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {REPOSITORY}/tests/helpers/fake_kubectl.py "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_KUBECTL", str(tmp_path / "plan.json"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return Kubectl(tmp_path)


@pytest.fixture
def engine_in_thread() -> Iterator[FakeEngineServer]:
    with serving() as server:
        yield server


def port_of(server: FakeEngineServer) -> int:
    """Return the port of a stand-in."""
    return int(server.url.rpartition(":")[2])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_client_of_a_server_uses_a_port_forward(kubectl: Kubectl, engine_in_thread: FakeEngineServer) -> None:
    kubectl.plan(target=port_of(engine_in_thread))

    with VLLMClient.for_server("models/mistral", ClientConfig(model="tiny"), context="prod", port=8000) as client:
        assert client.chat("hi").content == "Hello world"
        assert client._forward is not None
        process = client._forward._state._process
        assert process is not None
        assert is_running(process.pid)

    assert not is_running(process.pid)
    local = client.config.base_urls[0].rpartition(":")[2]
    arguments = ["--context=prod", "--namespace=models", "port-forward", "--address=127.0.0.1"]
    assert kubectl.starts == [[*arguments, "service/mistral", f"{local}:8000"]]


async def test_asynchronous_client_does_the_same(kubectl: Kubectl, engine_in_thread: FakeEngineServer) -> None:
    kubectl.plan(target=port_of(engine_in_thread))

    client = await AsyncVLLMClient.for_server("mistral", ClientConfig(model="tiny"))
    async with client:
        assert (await client.chat("hi")).content == "Hello world"
        assert client._forward is not None
        process = client._forward._state._process

    assert process is not None
    assert not is_running(process.pid)
    assert kubectl.starts[0][:2] == ["port-forward", "--address=127.0.0.1"]


def test_forward_starts_again_after_its_pod_is_gone(kubectl: Kubectl, engine_in_thread: FakeEngineServer) -> None:
    kubectl.plan(target=port_of(engine_in_thread), connections=1)
    config = ClientConfig(model="tiny", limits=Limits(keepalive=0.1))

    with VLLMClient.for_server("models/mistral", config) as client:
        forward = client._forward
        assert forward is not None
        assert client.chat("one").content == "Hello world"
        kubectl.plan(target=port_of(engine_in_thread))
        wait_until(lambda: forward.restarts >= 1)

        outcomes = run_batch_threaded(client, ["two", "three"])

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * 2
    assert kubectl.starts[0] == kubectl.starts[1]


def test_forward_starts_again_after_kubectl_was_killed(kubectl: Kubectl, engine_in_thread: FakeEngineServer) -> None:
    kubectl.plan(target=port_of(engine_in_thread))

    with VLLMClient.for_server("models/mistral", ClientConfig(model="tiny")) as client:
        assert client._forward is not None
        process = client._forward._state._process
        assert process is not None
        process.kill()

        outcomes = run_batch_threaded(client, ["one", "two"])

    assert [type(outcome) for outcome in outcomes] == [CompletionResponse] * 2


@pytest.mark.parametrize(
    "message", ['Error from server (NotFound): services "mistral" not found', "error: no configuration\x1b[2J"]
)
def test_error_of_kubectl_is_quoted(kubectl: Kubectl, message: str) -> None:
    kubectl.plan(error=message)

    with pytest.raises(ConnectionFailed) as caught:
        VLLMClient.for_server("models/mistral")

    assert str(caught.value).startswith("kubectl cannot forward a port to the server: ")
    assert message.partition("\x1b")[0] in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(kubectl.starts) == 1


def test_missing_kubectl_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(ConnectionFailed, match="kubectl forwards a port to the server, and it is not installed"):
        VLLMClient.for_server("models/mistral")


def test_port_that_does_not_open_in_time_is_an_error(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_forward, "START_SECONDS", 0.3)
    kubectl.plan(target=1)
    program = Path(os.environ["PATH"].partition(os.pathsep)[0]) / "kubectl"
    program.write_text("#!/bin/sh\nexec sleep 600\n")

    with pytest.raises(ConnectionFailed, match=r"it opened no port within 0\.3 s"):
        PortForward("models", "mistral", 80).start()


def test_forward_that_is_forgotten_ends(kubectl: Kubectl, engine_in_thread: FakeEngineServer) -> None:
    kubectl.plan(target=port_of(engine_in_thread))
    forward = PortForward("models", "mistral", 80)
    forward.start()
    process = forward._state._process
    assert process is not None

    del forward
    gc.collect()

    wait_until(lambda: not is_running(process.pid))
