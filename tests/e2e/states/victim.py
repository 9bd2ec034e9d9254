"""A replica that serves, to which the tests of row 3 do one thing after the other."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.states import fault_of_models, nodes
from tests.e2e.states.case import Case
from tests.e2e.states.conftest import RECORDER, remove
from tests.e2e.states.servers import server
from tests.e2e.states.watch import StatusWatch
from tools.harness.kube import Kube, Object

GROUP = 3
CLIENTS = 3
NAME = "victim"
MESSAGE = rf"^0/1 replicas serve; {NAME}-\S+: "


@pytest.fixture(scope="module")
def serving(kube: Kube, watch: StatusWatch) -> Iterator[Case]:
    """A replica that serves; each test leaves it serving."""
    case = Case(kube, watch, RECORDER, NAME)
    try:
        kube.apply(_script(), namespace=watch.namespace)
        case.applies(_spoilable())
        case.becomes_ready()
        yield case
    finally:
        remove(kube, watch.namespace, NAME)


@pytest.fixture
def victim(serving: Case) -> Case:
    """The replica, serving again after the test before."""
    serving.becomes_ready()
    return serving


def _script() -> Object:
    path = Path(fault_of_models.__file__)
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fault"}, "data": {path.name: path.read_text()}
    }  # fmt: skip


def _spoilable() -> Object:
    """A real vLLM whose list of models can be spoiled from outside."""
    engine = {
        "extraArgs": ["--middleware", "fault_of_models.fault"],
        "env": [{"name": "PYTHONPATH", "value": "/fault"}],
    }
    container = {"name": "vllm", "volumeMounts": [{"name": "fault", "mountPath": "/fault"}]}
    volume = {"name": "fault", "configMap": {"name": "fault"}}
    return server(NAME, engine=engine, podTemplate={"spec": {"containers": [container], "volumes": [volume]}})


def pod(case: Case) -> Object:
    """The one pod of a server."""
    [found] = case.kube.list("Pod", case.namespace, f"app.kubernetes.io/instance={case.name}")
    return found


def spoil(case: Case, order: str) -> None:
    """Write, or with an empty order remove, the file that the middleware looks at."""
    command = f"echo {order} > {fault_of_models.ORDER}" if order else f"rm {fault_of_models.ORDER}"
    case.kube.kubectl("-n", case.namespace, "exec", f"deployment/{case.name}", "--", "sh", "-c", command)


@contextlib.contextmanager
def traffic(address: str) -> Iterator[None]:
    """Clients that ask one thing after the other; whether they are answered is none of their business.

    There are several, so that the engine holds a request at any moment: one suspended between two requests is idle.
    """
    over = threading.Event()

    def ask() -> None:
        body = json.dumps({"model": "tiny", "prompt": "once upon", "max_tokens": 200, "ignore_eos": True}).encode()
        while not over.is_set():
            asked = urllib.request.Request(
                f"http://{address}:8000/v1/completions", body, {"Content-Type": "application/json"}
            )
            with contextlib.suppress(OSError):
                urllib.request.urlopen(asked, timeout=120).read()

    for number in range(CLIENTS):
        client = threading.Timer(0.1 * number, ask)
        client.daemon = True
        client.start()
    try:
        time.sleep(2.0)  # the engine is at work before anything is done to it
        yield
    finally:
        over.set()


@contextlib.contextmanager
def suspended(process: int) -> Iterator[None]:
    """Resume the process at the end in any case."""
    try:
        yield
    finally:
        nodes.resume(process)
