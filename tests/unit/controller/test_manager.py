"""Fill the caches, run the background tasks, and stop, before an API server on loopback that has no objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from vllm_operator.controller import manager as module
from vllm_operator.controller.manager import Manager
from vllm_operator.kube.kinds import CHILD_KINDS, SERVER, WATCHED_KINDS
from vllm_operator.settings import Settings

SERVICE = CHILD_KINDS["Service"]
OPTIONAL = [kind for kind in CHILD_KINDS.values() if kind.optional]


class FakeApiServer:
    """Answers lists with no objects, and watches with silence.

    Attributes:
        has_crd: whether the CRD of VLLMServer is installed.
        listed: paths that were listed.
        watched: paths that are watched.
    """

    def __init__(self) -> None:
        self.has_crd = True
        self.listed: list[str] = []
        self.watched: set[str] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        is_optional = request.path.startswith("/apis/monitoring.coreos.com")
        if is_optional or (SERVER.group in request.path and not self.has_crd):
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if "watch" in request.query:
            self.watched.add(request.path)
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.sleep(60)
            return stream
        self.listed.append(request.path)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "7"}})


@pytest.fixture
async def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApiServer]:
    fake = FakeApiServer()
    runner = web.ServerRunner(web.Server(fake.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield fake
    await runner.cleanup()


@pytest.fixture
async def manager(api_server: FakeApiServer) -> AsyncIterator[Manager]:
    made = Manager(Settings(listen="127.0.0.1:0"))
    await made.listen()
    yield made
    await made.stop()


async def eventually(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 10 s")


def service(version: int, instance: str) -> dict[str, Any]:
    """Return a Service of a server."""
    labels = {"app.kubernetes.io/managed-by": "vllm-operator", "app.kubernetes.io/instance": instance}
    return {
        "metadata": {"namespace": "llm", "name": "a", "uid": "u", "resourceVersion": str(version), "labels": labels}
    }


async def test_every_installed_kind_is_listed_and_then_watched(manager: Manager, api_server: FakeApiServer) -> None:
    await manager.start()

    expected = {kind.path() for kind in WATCHED_KINDS if kind not in OPTIONAL}
    assert expected <= set(api_server.listed)
    assert manager._endpoints.ready
    await eventually(lambda: api_server.watched == expected)
    assert not manager.failed


async def test_stop_ends_every_task_and_sets_the_stop_flag(manager: Manager) -> None:
    await manager.start()
    tasks = list(manager._tasks)
    await manager.stop()

    assert len(tasks) > len(WATCHED_KINDS)
    assert all(task.done() for task in tasks)
    assert manager.stop_flag.is_set()
    assert not manager.failed
    assert not manager._endpoints.ready


async def test_task_that_ends_by_itself_stops_the_manager(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> None:
        raise ValueError("defect")

    manager._relister.run = lambda _: broken()  # type: ignore[method-assign, assignment]
    await manager.start()
    await eventually(manager.stop_flag.is_set)

    assert manager.failed
    assert manager._liveness_failure() == "a task has ended"
    assert "the task relister ended" in caplog.text


async def test_cluster_wide_manager_is_ready_without_its_crd(
    manager: Manager, api_server: FakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    api_server.has_crd = False
    await manager.start()

    assert manager._endpoints.ready
    assert module.NO_CRD in caplog.text
    api_server.has_crd = True
    await eventually(lambda: SERVER.path() in api_server.watched)


async def test_namespaced_manager_waits_for_its_crd(api_server: FakeApiServer) -> None:
    api_server.has_crd = False
    manager = Manager(Settings(namespaces=("llm",), listen="127.0.0.1:0"))
    starting = asyncio.create_task(manager.start())
    await asyncio.sleep(0.2)
    assert not starting.done()
    api_server.has_crd = True
    await asyncio.wait_for(starting, 10)
    await manager.stop()


@pytest.mark.parametrize(("instance", "concerned"), [("former", 1), ("new", 2)])
async def test_event_enqueues_the_former_and_the_new_server_of_a_child(
    manager: Manager, instance: str, concerned: int
) -> None:
    manager._store.put("Service", service(1, "former"))
    manager.on_watch_event(SERVICE, "MODIFIED", service(2, instance))
    assert manager._queue.depth == concerned


async def test_event_that_brings_nothing_new_enqueues_no_server(manager: Manager) -> None:
    manager._store.put("Service", service(2, "new"))
    manager.on_watch_event(SERVICE, "MODIFIED", service(1, "former"))
    assert manager._queue.depth == 0
