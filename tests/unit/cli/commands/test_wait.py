from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server
from tests.helpers.plugin import Ended, plugin
from tests.unit.cli.commands.conftest import Run
from vllm_operator.cli.commands import wait
from vllm_operator.kube.kinds import SERVER

PATH = SERVER.path("llm", "a")


def body(generation: int = 1, phase: str = "Loading", reason: str = "RollingOut", **conditions: str) -> dict[str, Any]:
    entries = [
        {"type": kind, "status": value, "reason": reason, "message": f"{kind} says why"}
        for kind, value in conditions.items()
    ]
    status = {"observedGeneration": 1, "phase": phase, "message": "0/1 replicas serve", "conditions": entries}
    return {"metadata": {"name": "a", "generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("server", "done", "ready", "words"),
    [
        (body(Ready="True"), True, True, "0/1 replicas serve"),
        (body(2, Ready="True"), False, False, "has not judged this spec yet"),
        (body(Ready="False", Stalled="True", reason="UnknownFlag"), True, False, "Stalled (UnknownFlag): Stalled says"),
        (body(Ready="False", Stalled="False"), False, False, "Loading: 0/1 replicas serve"),
        (body(Ready="False", reason="Paused"), True, False, "use kubectl vllm resume"),
        ({"metadata": {"name": "a", "generation": 1}}, False, False, "has not judged"),
    ],
)
def test_outcome_of_a_status(server: dict[str, Any], done: bool, ready: bool, words: str) -> None:
    outcome = wait.outcome_of(server)
    assert (outcome.done, outcome.ready) == (done, ready)
    assert words in outcome.message


def test_server_that_is_being_deleted_is_not_waited_for() -> None:
    server = body(Ready="False")
    server["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert wait.outcome_of(server) == wait.Outcome(True, False, "it is being deleted")


def waited(folder: Path, answers: list[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch, *options: str) -> Ended:
    """Run the command; each read of the server takes the next answer, and the last one stays."""
    monkeypatch.setattr(wait, "INTERVAL_SECONDS", 0.01)

    def answer(self: FakeApiServer, method: str, target: str, _body: Any) -> tuple[int, bytes]:
        import json

        code, found = answers.pop(0) if len(answers) > 1 else answers[0]
        return code, json.dumps(found).encode()

    monkeypatch.setattr(FakeApiServer, "answer", answer)
    with fake_api_server({}, folder) as (_, path):
        return plugin("wait", "a", "--kubeconfig", path, *options)


def test_progress_is_shown_until_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading, ready = (200, body(Ready="False")), (200, body(Ready="True", phase="Serving"))
    ended = waited(tmp_path, [loading, loading, ready], monkeypatch)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "a: Ready\n", "a: Loading: 0/1 replicas serve\n")


def test_api_server_that_is_busy_meanwhile_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(200, body(Ready="False")), (503, {}), (200, body(Ready="True"))]
    assert waited(tmp_path, answers, monkeypatch).code == 0


def test_api_server_that_fails_at_first_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited(tmp_path, [(503, {})], monkeypatch).code == 3


def test_end_of_the_time_shows_the_last_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = waited(tmp_path, [(200, body(Ready="False"))], monkeypatch, "--timeout", "0.1s")
    assert ended.code == 1
    assert "not Ready in time: Loading: 0/1 replicas serve" in ended.stderr


def test_silent_operator_is_suspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "OPERATOR_SECONDS", 0.0)
    ended = waited(tmp_path, [(200, body(2, Ready="True"))], monkeypatch, "--timeout", "0.1s")
    assert "is it running? Check with: kubectl vllm doctor" in ended.stderr


def test_outcomes_are_printed_as_data(run: Run) -> None:
    ended = run("wait", "mistral", "refused", "-o", "json")
    assert ended.code == 1
    outcomes = {one["name"]: one["ready"] for one in json.loads(ended.stdout)}
    assert outcomes == {"mistral": True, "refused": False}
    assert "refused: Stalled" in ended.stderr
