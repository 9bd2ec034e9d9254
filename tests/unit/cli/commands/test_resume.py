from __future__ import annotations

from tests.helpers.fake_api_server import FakeApiServer
from tests.helpers.plugin_world import SERVERS
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import SERVER


def test_paused_server_is_resumed(run: Run, api: FakeApiServer) -> None:
    body = {**SERVERS["mistral"], "spec": {**SERVERS["mistral"]["spec"], "paused": True}}
    api.answers[f"GET {SERVER.path('llm', 'mistral')}"] = (200, body)
    assert run("resume", "mistral").stdout == "mistral: spec.paused: true -> false\n"
    assert api.writes()[-1][2] == {"spec": {"paused": False}}


def test_server_that_is_not_paused_is_left_alone(run: Run, api: FakeApiServer) -> None:
    assert run("resume", "mistral").stdout == "mistral: unchanged: it is not paused\n"
    assert api.writes() == []


def test_pause_is_the_opposite(run: Run, api: FakeApiServer) -> None:
    assert run("pause", "mistral").stdout == "mistral: spec.paused: unset -> true\n"
    assert api.writes()[-1][2] == {"spec": {"paused": True}}
