"""`autoscaling.schedule`: windows that open and close while the operator runs, and does nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.autoscaling.conftest import NAMESPACE, WITHIN, Scene
from tools.harness.kube import Object


def cron(moment: datetime) -> str:
    """Return the cron expression of one minute of a day."""
    return f"{moment.minute} {moment.hour} {moment.day} {moment.month} *"


def bounds(scene: Scene, name: str) -> tuple[int, int]:
    spec = scene.kube.must_get("HorizontalPodAutoscaler", name, NAMESPACE)["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def status(scene: Scene, name: str) -> Object:
    found: Object = scene.servers.get(name)["status"]["autoscaling"]
    return found


def test_window_opens_and_closes_by_itself_and_is_shown(scene: Scene) -> None:
    now = datetime.now(UTC)
    # A whole minute to come, far enough away to see the bounds before it.
    opens = (now + timedelta(seconds=75)).replace(second=0, microsecond=0)
    window = {"start": cron(opens), "end": cron(opens + timedelta(minutes=1)), "minReplicas": 2, "maxReplicas": 3}
    scene.servers.create("office", {"autoscaling": {"maxReplicas": 5, "schedule": [window]}})
    assert bounds(scene, "office") == (1, 5)
    following = {"time": opens.strftime("%Y-%m-%dT%H:%M:%SZ"), "minReplicas": 2, "maxReplicas": 3}
    assert status(scene, "office") == {"minReplicas": 1, "maxReplicas": 5, "next": following}
    shown = scene.kube.kubectl("-n", NAMESPACE, "get", "vllmservers", "office", "-o", "wide")
    assert {"1", "5", following["time"]} <= set(shown.stdout.split())

    scene.kube.eventually(lambda: bounds(scene, "office") == (2, 3), within=WITHIN)
    late = (datetime.now(UTC) - opens).total_seconds()
    print(f"the window opened {late:.2f} s after its time")
    assert late >= 0
    scene.kube.eventually(lambda: scene.wanted("office") == 2, within=30)
    assert status(scene, "office")["next"]["minReplicas"] == 1

    scene.kube.eventually(lambda: bounds(scene, "office") == (1, 5), within=WITHIN)
    assert datetime.now(UTC) >= opens + timedelta(minutes=1)


def test_server_that_sleeps_is_woken_by_its_schedule(scene: Scene) -> None:
    opens = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    window = {"start": cron(opens), "durationSeconds": 3600, "minReplicas": 1}
    scaling = {"minReplicas": 0, "maxReplicas": 2, "source": "operator", "schedule": [window]}
    scene.servers.create("early", {"replicas": 0, "autoscaling": scaling})
    scene.active("early", "True", "Asleep")
    assert scene.wanted("early") == 0

    scene.becomes("early", 1)
    assert datetime.now(UTC) >= opens
