from __future__ import annotations

import json

import pytest

from tests.helpers.fake_api_server import FakeApiServer, status_object
from tests.unit.cli.commands.conftest import Run
from vllm_operator.cli.commands.scale import wanted_change
from vllm_operator.cli.exits import CliError
from vllm_operator.kube.kinds import SERVER

SCALED = {"metadata": {"name": "a"}, "spec": {"autoscaling": {"minReplicas": 1, "maxReplicas": 3}}}


def test_replicas_are_changed_and_shown(run: Run, api: FakeApiServer) -> None:
    assert run("scale", "mistral", "--replicas", "3").stdout == "mistral: spec.replicas: unset -> 3\n"
    assert api.writes()[-1] == ("PATCH", SERVER.path("llm", "mistral"), {"spec": {"replicas": 3}})


@pytest.mark.parametrize("words", [("scale", "mistral", "--replicas", "3"), ("pause", "mistral")])
def test_changed_object_is_printed_and_the_change_on_standard_error(words: tuple[str, ...], run: Run) -> None:
    ended = run(*words, "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.stdout)["metadata"] is not None
    assert "mistral: spec." in ended.stderr
    assert run(*words, "-o", "name", "--dry-run").stdout.startswith("vllmserver")


def test_bounds_of_the_autoscaler_are_changed() -> None:
    assert wanted_change(SCALED, None, {"maxReplicas": 5}) == {"autoscaling": {"maxReplicas": 5}}


def test_server_that_may_sleep_is_woken_and_put_to_sleep() -> None:
    sleeper = {"metadata": {"name": "a"}, "spec": {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}}
    assert wanted_change(sleeper, 1, {}) == {"replicas": 1}
    assert wanted_change(sleeper, 0, {}) == {"replicas": 0}
    with pytest.raises(CliError, match="use --min 2 or --max 2"):
        wanted_change(sleeper, 2, {})


def test_wrong_option_names_the_right_one() -> None:
    with pytest.raises(CliError, match="use --min 2 or --max 2"):
        wanted_change(SCALED, 2, {})
    with pytest.raises(CliError, match=r"has no autoscaler .*use --replicas"):
        wanted_change({"metadata": {"name": "a"}, "spec": {}}, None, {"maxReplicas": 5})


@pytest.mark.parametrize(
    "words", [(), ("--replicas", "1", "--max", "2"), ("--replicas", "-1"), ("--replicas", "x"), ("--replicas", "99999")]
)
def test_wrong_options_are_a_usage_error(words: tuple[str, ...], run: Run) -> None:
    assert run("scale", "mistral", *words).code == 2


def test_refusal_of_the_api_server_is_shown(run: Run, api: FakeApiServer) -> None:
    api.answers[f"PATCH {SERVER.path('llm', 'mistral')}"] = (422, status_object(422, "Invalid", "too many"))
    ended = run("scale", "mistral", "--replicas", "3")
    assert (ended.code, "too many" in ended.stderr) == (1, True)


def test_missing_right_to_patch_is_named(run: Run, api: FakeApiServer) -> None:
    api.answers[f"PATCH {SERVER.path('llm', 'mistral')}"] = (403, status_object(403, "Forbidden", "no"))
    ended = run("pause", "mistral")
    assert ended.code == 3
    assert "no right to patch vllmservers.vllm-operator.dev in namespace llm" in ended.stderr
