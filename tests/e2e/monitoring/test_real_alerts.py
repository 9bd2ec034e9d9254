"""Each alert fires and resolves by its real cause on a real Prometheus, and healthy waves fire none."""

from __future__ import annotations

import os
import time

from tests.e2e.monitoring import causes
from tests.e2e.monitoring.prometheus import Prometheus, Watch
from tests.e2e.monitoring.recorder import Recorder
from tests.e2e.monitoring.scenario import World, side_by_side, wanted
from tests.e2e.monitoring.traffic import Traffic, wave
from tools.harness.kube import Kube
from tools.harness.real_cluster import RealCluster

RULE_SECONDS = 60.0
"""Seconds until the operator has written the objects of a server."""


def test_alerts_fire_and_resolve_by_their_causes(
    cluster: RealCluster, kube: Kube, namespace: str, prometheus: Prometheus, watch: Watch, recorder: Recorder,
    deadline: float,
) -> None:  # fmt: skip
    world = World(cluster, namespace, prometheus, watch, recorder, deadline)
    with side_by_side(world, causes.ABOUT_SERVERS):
        servers = [one for one in causes.ABOUT_SERVERS if wanted(one) and one not in causes.WITHOUT_SERVER]
        kube.eventually(lambda: len(kube.list("PrometheusRule", namespace)) == len(servers), within=RULE_SECONDS)
        prometheus.reload()
    with side_by_side(world, causes.ABOUT_THE_OPERATOR):
        pass

    recorder.false_alarms += [
        f"{labels['alertname']} {labels.get('vllmserver', '')}"
        for labels in watch.all_fired()
        if not any(known.items() <= labels.items() for known in world.expected)
    ]
    assert prometheus.sick_rules() == []
    assert world.errors == []
    assert recorder.false_alarms == []
    missing = [name for name, one in recorder.alerts.items() if one.fired_after is None]
    lasting = [name for name, one in recorder.alerts.items() if one.resolved_after is None]
    assert (missing, lasting) == ([], [])


def test_healthy_waves_fire_nothing(
    cluster: RealCluster, kube: Kube, namespace: str, prometheus: Prometheus, watch: Watch, recorder: Recorder
) -> None:
    """Waves of load, from nearly idle to busy, for MONITORING_HEALTHY_SECONDS (an hour by default)."""
    seconds = float(os.environ.get("MONITORING_HEALTHY_SECONDS", "3600"))
    if not seconds:
        return
    kube.kubectl("-n", namespace, "delete", "vllmservers", "--all", "--timeout=60s")
    world = World(cluster, namespace, prometheus, watch, recorder, time.time() + seconds + 600)
    objectives = {"availability": {"objective": 0.999}, "latency": {"objective": 0.9, "thresholdSeconds": 30}}
    world.apply("healthy", {"monitoring": {"slo": objectives}})
    address = world.ready_pod("healthy")["status"]["podIP"]
    prometheus.reload()
    traffic = Traffic(address)
    start = time.time()
    with traffic.from_clients(4, pause=wave()):
        while time.time() - start < seconds:
            time.sleep(1)
    recorder.healthy_seconds = time.time() - start
    fired = [name for name, seen in watch.began.items() if any(at >= start for at, _ in seen)]
    recorder.false_alarms += fired
    assert fired == []
    assert set(traffic.counts) == {200}
