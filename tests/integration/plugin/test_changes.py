"""The commands that change a server, and the changes that they show."""

from __future__ import annotations

from tests.integration.plugin.world import Run
from tests.integration.servers import Servers


def test_scale_pause_resume_and_restart_show_the_change(run: Run, world: Servers) -> None:
    world.create("changed", {"replicas": 0})
    assert run("scale", "changed", "--replicas", "2").stdout == "changed: spec.replicas: 0 -> 2\n"
    assert world.get("changed")["spec"]["replicas"] == 2
    assert run("scale", "changed", "--replicas", "2").stdout == "changed: unchanged: spec.replicas is 2\n"
    dry = run("scale", "changed", "--replicas", "5", "--dry-run")
    assert dry.stdout == "changed: spec.replicas: 2 -> 5 (dry run)\n"
    assert world.get("changed")["spec"]["replicas"] == 2
    assert run("pause", "changed").stdout == "changed: spec.paused: false -> true\n"
    assert run("resume", "changed").stdout == "changed: spec.paused: true -> false\n"
    assert "not paused" in run("resume", "changed").stdout
    world.settled("changed")
    assert "restartedAt: unset -> " in run("restart", "changed").stdout
    annotations = world.child("Deployment", "changed")["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def test_restart_is_not_undone_by_the_operator(run: Run, world: Servers) -> None:
    world.create("restarted", {"replicas": 0})
    run("restart", "restarted")

    def annotation() -> None:
        template = world.child("Deployment", "restarted")["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]

    world.kube.stays(annotation, seconds=3)


def test_scale_of_an_autoscaled_server_is_refused_with_the_way_out(run: Run) -> None:
    ended = run("scale", "scaled", "--replicas", "3")
    assert ended.code == 1
    assert "use --min 3 or --max 3" in ended.stderr
    ended = run("scale", "scaled", "--min", "9")
    assert ended.code == 1
    assert "minReplicas must not exceed maxReplicas" in ended.stderr
