from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer
from tests.unit.cli.commands.conftest import Run
from vllm_operator.cli.commands.restart import RESTARTED_AT, rollout_text
from vllm_operator.kube.kinds import DEPLOYMENT


def test_annotation_is_set_in_the_pod_template(run: Run, api: FakeApiServer) -> None:
    ended = run("restart", "mistral")
    assert f"mistral: Deployment mistral: {RESTARTED_AT}: unset -> 2" in ended.stdout
    assert "1 replicas are replaced, at most 1 missing and 0 more at a time" in ended.stdout
    [(method, path, body)] = api.writes()
    assert (method, path) == ("PATCH", DEPLOYMENT.path("llm", "mistral"))
    assert list(body["spec"]["template"]["metadata"]["annotations"]) == [RESTARTED_AT]


def test_dry_run_is_sent_as_such(run: Run, api: FakeApiServer) -> None:
    assert "(dry run)" in run("restart", "mistral", "--dry-run").stdout
    assert api.asked[-1][2]["dryRun"] == "All"


def test_server_without_a_deployment_cannot_be_restarted(run: Run) -> None:
    ended = run("restart", "refused")
    assert ended.code == 1
    assert "refused has no Deployment yet, so there is nothing to restart (spec.engine.extraArgs[0]" in ended.stderr


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"type": "Recreate"}, "all 2 replicas stop before new ones start"),
        ({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}, "at most 0 missing and 25% more"),
        (None, "2 replicas are replaced"),
    ],
)
def test_rollout_is_told_in_words(strategy: Any, words: str) -> None:
    deployment = {"metadata": {"name": "a"}, "spec": {"replicas": 2, "strategy": strategy}}
    assert words in rollout_text(deployment)
