"""The commands that change a server, each with the change that it shows."""

from __future__ import annotations

from tests.e2e.conftest import pods
from tests.e2e.plugin.program import Program
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Kube


def test_scale_shows_the_bounds_of_the_autoscaler(program: Program, kube: Kube, serving: str) -> None:
    ended = program.run("scale", serving, "--replicas", "3")
    assert ended.code == 1
    assert "use --min 3 or --max 3" in ended.stderr
    ended = program.run("scale", serving, "--max", "1")
    assert ended.stdout == f"{serving}: spec.autoscaling.maxReplicas: 2 -> 1\n"
    assert kube.must_get(KIND, serving, program.namespace)["spec"]["autoscaling"]["maxReplicas"] == 1


def test_pause_and_resume(program: Program, kube: Kube, serving: str) -> None:
    assert program.run("pause", serving).stdout == f"{serving}: spec.paused: false -> true\n"
    assert program.run("pause", serving).stdout == f"{serving}: unchanged: spec.paused is true\n"
    assert program.run("resume", serving, "--dry-run").stdout == f"{serving}: spec.paused: true -> false (dry run)\n"
    assert program.run("resume", serving).stdout == f"{serving}: spec.paused: true -> false\n"


def test_restart_replaces_the_replica(program: Program, kube: Kube, serving: str) -> None:
    inside = InCluster(kube, program.namespace)
    kube.eventually(lambda: len(pods(inside, serving)) == 1, within=90, namespace=program.namespace)
    [before] = pods(inside, serving)
    ended = program.run("restart", serving)
    assert ended.code == 0, ended.text
    assert "restartedAt: unset -> " in ended.stdout

    def replaced() -> bool:
        return before["metadata"]["name"] not in [pod["metadata"]["name"] for pod in pods(inside, serving)]

    kube.eventually(replaced, within=120, namespace=program.namespace)
    assert program.run("wait", serving, "--timeout", "2m").code == 0
