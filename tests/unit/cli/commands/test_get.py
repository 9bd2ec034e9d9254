from __future__ import annotations

import json

from tests.helpers.fake_api_server import FakeApiServer
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import SERVER


def test_servers_are_sorted_with_their_cause(run: Run) -> None:
    lines = run("get").stdout.splitlines()
    assert lines[0].split() == ["NAME", "MODEL", "READY", "PHASE", "VERSION", "AGE", "MESSAGE"]
    assert [line.split()[0] for line in lines[1:]] == ["crashed", "mistral", "refused"]
    assert "set engine.maxModelLen to 2048 or less" in lines[1]


def test_wide_and_all_namespaces_add_columns(run: Run) -> None:
    head = run("get", "-A", "-o", "wide").stdout.splitlines()[0].split()
    assert head[0] == "NAMESPACE"
    assert {"ENDPOINT", "GPUS", "IMAGE"} <= set(head)


def test_objects_are_printed_as_kubectl_does(run: Run) -> None:
    assert run("get", "mistral", "-o", "name").stdout == "vllmserver.vllm-operator.dev/mistral\n"
    assert json.loads(run("get", "mistral", "-o", "json").stdout)["metadata"]["name"] == "mistral"
    assert len(json.loads(run("get", "-o", "json").stdout)["items"]) == 3


def test_selector_is_sent(run: Run, api: FakeApiServer) -> None:
    run("get", "-l", "team=a")
    assert api.asked[-1][2]["labelSelector"] == "team=a"


def test_empty_namespace_says_so(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {SERVER.path('llm')}"] = (200, {"items": []})
    ended = run("get")
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr == "No VLLMServers found in namespace llm.\n"


def test_names_with_all_namespaces_are_a_usage_error(run: Run) -> None:
    assert run("get", "a", "-A").code == 2
