"""Each alert fires and resolves by its real cause on a real Prometheus, and healthy waves fire none."""

from __future__ import annotations

import os
import time

from tests.e2e.monitoring import causes
from tests.e2e.monitoring.scenario import World, side_by_side
from tools.harness.load import wave


def test_alerts_fire_and_resolve_by_their_causes(world: World) -> None:
    side_by_side(world, causes.ALL)

    recorder, watch = world.recorder, world.watch
    recorder.false_alarms += [
        f"{labels['alertname']} {labels.get('vllmserver', '')}"
        for labels in watch.all_fired()
        if not any(known.items() <= labels.items() for known in world.expected)
    ]
    assert world.prometheus.sick_rules() == []
    assert world.prometheus.refused == []
    assert world.errors == []
    assert recorder.false_alarms == []
    missing = [name for name, one in recorder.alerts.items() if one.fired_after is None]
    lasting = [name for name, one in recorder.alerts.items() if one.resolved_after is None]
    assert (missing, lasting) == ([], [])
    silent = [name for name, one in recorder.alerts.items() if None in (one.notified_after, one.end_notified_after)]
    assert silent == [], "Alertmanager sent no notice"


def test_healthy_waves_fire_nothing(world: World) -> None:
    """Waves of load, from nearly idle to busy, for MONITORING_HEALTHY_SECONDS (an hour by default)."""
    seconds = float(os.environ.get("MONITORING_HEALTHY_SECONDS", "3600"))
    if not seconds:
        return
    recorder, watch = world.recorder, world.watch
    world.deadline = time.time() + seconds + 600
    world.kube.kubectl("-n", world.namespace, "delete", "vllmservers", "--all", "--timeout=60s")
    objectives = {"availability": {"objective": 0.999}, "latency": {"objective": 0.9, "thresholdSeconds": 30}}
    world.apply("healthy", {"monitoring": {"slo": objectives}})
    address = world.ready_pod("healthy")["status"]["podIP"]
    load = causes.load_at(address, pause=wave())
    start = time.time()
    with load.from_clients(4):
        while time.time() - start < seconds:
            time.sleep(1)
    recorder.healthy_seconds = time.time() - start
    fired = [name for name, seen in watch.began.items() if any(at >= start for at, _ in seen)]
    recorder.false_alarms += fired
    assert fired == []
    assert set(load.counts) == {200}
