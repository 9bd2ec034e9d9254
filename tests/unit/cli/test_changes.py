from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import FakeApiServer, fake_api_server
from vllm_operator.cli.changes import change_spec, note_gitops, shown
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import SERVER

BODY: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"replicas": 1, "autoscaling": {"maxReplicas": 3}}}


def change(folder: Path, spec: dict[str, Any], *, dry_run: bool = False) -> tuple[FakeApiServer, bool]:
    with fake_api_server({f"PATCH {SERVER.path('llm', 'a')}": (200, BODY)}, folder) as (server, path):
        return server, change_spec(Cluster(ClusterOptions(kubeconfig=path)), BODY, spec, dry_run=dry_run)


def test_change_is_sent_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, changed = change(tmp_path, {"replicas": 3, "autoscaling": {"maxReplicas": 5, "minReplicas": 2}})
    assert changed
    assert capsys.readouterr().out.splitlines() == [
        "a: spec.replicas: 1 -> 3",
        "a: spec.autoscaling.maxReplicas: 3 -> 5",
        "a: spec.autoscaling.minReplicas: unset -> 2",
    ]
    assert len(server.writes()) == 1


def test_equal_value_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, changed = change(tmp_path, {"replicas": 1})
    assert not changed
    assert capsys.readouterr().out == "a: unchanged: spec.replicas is 1\n"
    assert server.writes() == []


def test_dry_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, _ = change(tmp_path, {"paused": True}, dry_run=True)
    assert capsys.readouterr().out == "a: spec.paused: unset -> true (dry run)\n"
    assert server.asked[-1][2]["dryRun"] == "All"


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "Flux"),
    ],
)
def test_gitops_tool_that_undoes_a_change_is_named(
    metadata: dict[str, Any], tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    note_gitops({"metadata": {"name": "a", **metadata}})
    assert f"{tool} applies a, and may undo this" in capsys.readouterr().err


def test_server_without_gitops_gets_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    note_gitops({"metadata": {"name": "a", "labels": {"app": "b"}}})
    assert capsys.readouterr().err == ""


def test_values_are_spelled_as_in_yaml() -> None:
    assert [shown(value) for value in (None, True, False, 3, "x")] == ["unset", "true", "false", "3", "x"]
