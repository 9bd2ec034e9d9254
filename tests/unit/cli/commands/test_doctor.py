from __future__ import annotations

import json

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import EVENT, SERVER


def test_causes_of_all_servers_are_named(run: Run) -> None:
    ended = run("doctor")
    assert ended.code == 1
    assert "llm/mistral: Serving  ok" in ended.stdout
    assert "problem  replica crashed-5f9c6d7b8-bbbbb: CrashLooping (ContextTooLong): exit code 1" in ended.stdout
    assert "problem  Accepted (AcceptedReason): Accepted says why" in ended.stdout
    assert "warning  Event on Pod crashed-5f9c6d7b8-bbbbb: BackOff" in ended.stdout


def test_healthy_server_ends_with_0(run: Run) -> None:
    assert run("doctor", "mistral").code == 0


def test_findings_are_printed_as_data(run: Run) -> None:
    data = json.loads(run("doctor", "crashed", "-o", "json").stdout)
    assert [entry["subject"] for entry in data] == ["operator", "llm/crashed: Failed"]
    assert {finding["level"] for finding in data[1]["findings"]} == {"problem", "warning"}


def test_events_that_may_not_be_read_are_unknown(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {EVENT.path('llm')}"] = (403, status_object(403, "Forbidden", "no"))
    assert "unknown  rights: no right to list events" in run("doctor", "crashed").stdout


def test_empty_namespace_says_so(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {SERVER.path('llm')}"] = (200, {"items": []})
    ended = run("doctor")
    assert ended.code == 0
    assert "no VLLMServers in llm" in ended.stderr


def test_names_with_all_namespaces_are_a_usage_error(run: Run) -> None:
    assert run("doctor", "a", "-A").code == 2
