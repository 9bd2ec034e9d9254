from __future__ import annotations

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.helpers.plugin_world import LOG
from tests.unit.cli.commands.conftest import Run


def test_cause_comes_first_then_the_log_of_the_former_run(run: Run, api: FakeApiServer) -> None:
    ended = run("logs", "crashed")
    assert ended.code == 0
    first, second, *_ = ended.stderr.splitlines()
    assert first.startswith("crashed: Failed: 0/1 replicas serve")
    assert second.startswith("--- pod crashed-5f9c6d7b8-bbbbb, container vllm: former run, exit code 1 (Error): ")
    assert ended.stdout.splitlines()[-1] in LOG.decode()
    assert [query["previous"] for _, path, query, _ in api.asked if path.endswith("/log")] == ["true"]


def test_log_of_a_serving_replica_is_printed(run: Run) -> None:
    ended = run("logs", "mistral")
    assert ended.stdout == "INFO ready\n"
    assert "--- pod mistral-5f9c6d7b8-aaaaa, container vllm\n" in ended.stderr


def test_followed_log_is_printed_by_lines(run: Run, api: FakeApiServer) -> None:
    assert run("logs", "mistral", "-f").stdout == "INFO ready\n"
    assert [query.get("follow") for _, path, query, _ in api.asked if path.endswith("/log")] == ["true"]


def test_refused_server_has_no_log_and_says_why(run: Run) -> None:
    ended = run("logs", "refused")
    assert ended.code == 1
    assert "Accepted=False (AcceptedReason): Accepted says why" in ended.stderr
    assert "no pods yet, so there is no log" in ended.stderr


def test_former_run_must_exist(run: Run) -> None:
    ended = run("logs", "mistral", "--previous")
    assert ended.code == 1
    assert "has no former run" in ended.stderr
    assert run("logs", "mistral", "-p", "-f").code == 2


def test_unknown_pod_and_container_are_named(run: Run) -> None:
    assert "did you mean 'mistral-5f9c6d7b8-aaaaa'" in run("logs", "mistral", "--pod", "mistral-5f9c6d7b8-aaaab").stderr
    assert "has no container 'vlm': did you mean 'vllm'" in run("logs", "mistral", "-c", "vlm").stderr


def test_missing_right_to_pods_is_no_empty_log(run: Run, api: FakeApiServer) -> None:
    for key in [key for key in api.answers if "/pods?" in key]:
        api.answers[key] = (403, status_object(403, "Forbidden", "no"))
    ended = run("logs", "mistral")
    assert ended.code == 1
    assert "no right to list pods" in ended.stderr
