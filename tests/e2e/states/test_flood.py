"""Row 5: a busy engine is never called anything but Serving."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.states import load
from tests.e2e.states.conftest import Begin
from tests.e2e.states.servers import IMAGE, ON_NODE, server
from tests.e2e.states.watch import StatusWatch
from tools.harness.kube import Kube, Object

SECONDS = float(os.environ.get("STATES_FLOOD_SECONDS", "600"))
CLIENT = "client"


@pytest.fixture
def client(kube: Kube, watch: StatusWatch) -> Iterator[str]:
    """A pod from which the load comes."""
    script = {Path(load.__file__).name: Path(load.__file__).read_text()}
    kube.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load"}, "data": script}, watch.namespace
    )
    kube.create(_pod(), watch.namespace)
    kube.kubectl("-n", watch.namespace, "wait", f"pod/{CLIENT}", "--for=condition=Ready", "--timeout=90s")
    yield CLIENT
    kube.kubectl("-n", watch.namespace, "delete", "pod", CLIENT, "--grace-period=1")


def _pod() -> Object:
    container = {
        "name": CLIENT,
        "image": IMAGE,
        "command": ["sleep", "infinity"],
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }
    volume = {"name": "load", "configMap": {"name": "load"}}
    spec = {"containers": [container], "volumes": [volume], "nodeSelector": ON_NODE, "terminationGracePeriodSeconds": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": CLIENT}, "spec": spec}


def test_flooded_replica_is_always_serving(begin: Begin, client: str) -> None:
    case = begin("busy")
    words = f"{load.STREAMS} streams and a flood of {load.PROMPT_TOKENS}-token prompts for {SECONDS:g} s"
    case.suffers(5, words, lambda: case.applies(server("busy", engine={"maxModelLen": 2048})))
    before = case.becomes_ready()
    mark = case.watch.mark(case.name)
    # By address: the cluster's DNS starves on a machine that vLLM fills, and is not what is tested.
    url = f"http://{case.kube.must_get('Service', case.name, case.namespace)['spec']['clusterIP']}"
    answer = case.kube.kubectl(
        "-n", case.namespace, "exec", client, "--", "python3", "/load/load.py", url, "tiny", str(SECONDS),
        timeout=SECONDS + 660,
    )  # fmt: skip
    done = json.loads(answer.stdout.strip().splitlines()[-1])
    changes = case.watch.since(case.name, mark)
    case.note(before)
    case.row.explanation = json.dumps(done)
    case.row.trouble += f": {done}"
    assert {change.status["phase"] for change in changes} <= {"Serving"}
    assert {entry["phase"] for change in changes for entry in change.status["replicaStatuses"]} <= {"Serving"}
    assert done["most_running"] >= load.STREAMS, "the engine never ran all streams at once"
    assert done.get("flood 200", 0) > 0
    assert done.get("stream 200", 0) > 0
    assert not [kind for kind in done if kind.split()[-1] not in {"200", "most_running"}], done
