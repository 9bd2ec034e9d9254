from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import GATEWAY, SERVER


def test_tree_has_replicas_with_their_load(run: Run) -> None:
    text = run("status", "mistral").stdout
    assert "llm/mistral  Serving  1/1 replicas serve" in text
    assert "running " in text
    assert "KV cache " in text


def test_load_can_be_left_out(run: Run, api: FakeApiServer) -> None:
    assert "running" not in run("status", "mistral", "--no-load").stdout
    assert not [path for _, path, _, _ in api.asked if "proxy" in path]


def test_data_has_children_revisions_and_replicas(run: Run) -> None:
    data = json.loads(run("status", "mistral", "-o", "json").stdout)
    assert {child["kind"] for child in data["children"]} >= {"Deployment", "Service"}
    assert data["revisions"][0]["revision"] == 1
    assert data["replicas"][0]["load"]["running"] is not None
    assert yaml.safe_load(run("status", "crashed", "-o", "yaml").stdout)["replicas"][0]["load"] is None


def test_wide_tree_has_whole_messages_and_the_restarts(run: Run, api: FakeApiServer) -> None:
    key = f"GET {SERVER.path('llm', 'crashed')}"
    api.answers[key][1]["status"]["message"] = f"{'why ' * 200}end"
    assert "why end" not in run("status", "crashed").stdout
    wide = run("status", "crashed", "-o", "wide").stdout
    assert "why end" in wide
    assert " restarts" in wide


def test_watch_on_a_pipe_prints_changes_only(run: Run, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"GET {SERVER.path('llm', 'mistral')}"
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            api.answers[key][1]["status"]["message"] = "0/1 replicas serve"
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("status", "mistral", "-w", "--no-load")
    assert ended.code == 130
    assert [line.split("  ")[2] for line in ended.stdout.splitlines() if line.startswith("llm/mistral")] == [
        "1/1 replicas serve",
        "0/1 replicas serve",
    ]


def test_watch_draws_until_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("status", "mistral", "-w", "--interval", "1s", terminal=True, environment={"TERM": "xterm"})
    assert ended.code == 130
    assert looks == [1.0, 1.0, 1.0]


def test_watch_shows_text_only(run: Run) -> None:
    assert run("status", "mistral", "-w", "-o", "json").code == 2


def test_missing_right_hides_its_part_only(run: Run, api: FakeApiServer) -> None:
    for key in [key for key in api.answers if "/replicasets" in key]:
        api.answers[key] = (403, status_object(403, "Forbidden", "no"))
    ended = run("status", "mistral")
    assert ended.code == 0
    assert "not shown: no right to list replicasets.apps in namespace llm" in ended.stdout


def test_failed_look_is_noted_and_the_last_tree_stays(
    run: Run, api: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        api.answers["GET /apis/vllm-operator.dev/v1alpha1/namespaces/llm/vllmservers/mistral"] = (503, {})
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    ended = run("status", "mistral", "-w", terminal=True, environment={"TERM": "xterm", "COLUMNS": "200"})
    assert ended.code == 130
    assert "not current: the API server answered 503" in ended.stdout


def test_a_gateway_is_shown_by_its_kind_and_name(run: Run, api: FakeApiServer) -> None:
    status = {"observedGeneration": 1, "phase": "Serving", "address": "http://chat-gateway.llm.svc", "heldRequests": 2}
    body = {"metadata": {"namespace": "llm", "name": "chat", "generation": 1}, "spec": {}, "status": status}
    api.answers[f"GET {GATEWAY.path('llm', 'chat')}"] = (200, body)
    ended = run("status", "vllmgateway/chat")
    assert ended.code == 0
    assert "llm/chat (gateway)  Serving" in ended.stdout
    assert "requests that wait: 2" in ended.stdout
    assert json.loads(run("status", "vllmgw/chat", "-o", "json").stdout)["gateway"]["status"] == status
    assert "--watch shows servers only" in run("status", "vllmgateway/chat", "--watch").stderr
