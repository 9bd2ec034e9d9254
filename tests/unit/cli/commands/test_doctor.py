from __future__ import annotations

import json

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import EVENT, GATEWAY, SERVER


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


GATEWAY_STATUS = {
    "observedGeneration": 1,
    "phase": "Degraded",
    "message": "the Secret keys is not released; 2/2 pods are ready",
    "refusedReferences": ["the Secret keys is not released"],
    "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "", "observedGeneration": 1}],
}
GATEWAY_BODY = {
    "metadata": {"namespace": "llm", "name": "chat", "generation": 1},
    "spec": {},
    "status": GATEWAY_STATUS,
}


def test_gateways_are_judged_with_the_servers(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {GATEWAY.path('llm')}"] = (200, {"items": [GATEWAY_BODY]})
    ended = run("doctor")
    assert "llm/chat (gateway)" in ended.stdout
    assert "problem  reference: the Secret keys is not released" in ended.stdout


def test_a_gateway_is_judged_alone_by_its_kind_and_name(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {GATEWAY.path('llm', 'chat')}"] = (200, GATEWAY_BODY)
    ended = run("doctor", "vllmgateway/chat")
    assert ended.code == 1
    assert "mistral" not in ended.stdout
    assert "VLLMServers" not in ended.stderr
    absent = run("doctor", "vllmgateway/absent")
    assert "there is no VLLMGateway 'absent' in namespace llm" in absent.stderr


def test_gateways_that_may_not_be_read_are_unknown(run: Run, api: FakeApiServer) -> None:
    api.answers[f"GET {GATEWAY.path('llm')}"] = (403, status_object(403, "Forbidden", "no"))
    assert "gateways\n  unknown  rights: no right to list" in run("doctor").stdout
