"""Alerts about the operator that need a broken API server: on a real API server behind a proxy, and a real Prometheus.

Each operator serves its own namespace through its own proxy, so that all causes run side by side. Prometheus has the
rules of `manifests --rules`, and scrapes and evaluates as often as in the tests on a cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chaos.proxy import Fault, Proxy
from tests.e2e.monitoring.faults import SCENARIOS, Scenario, change, names, server
from tests.e2e.monitoring.recorder import Measured, Recorder
from tests.helpers.alone import install_crd, plane_or_skip
from tools.dashboards.prometheus import Prometheus, running
from tools.harness.control_plane import Plane
from tools.harness.kube import KIND, Kube
from tools.harness.operator_process import OperatorProcess
from vllm_operator.install.manifests import MonitoringOptions, operator_manifests

SCRAPE, EVALUATION = "15s", "30s"
"""The interval of our PodMonitor, and that of kube-prometheus-stack."""
CHANGE_SECONDS = 5.0
CHANGED = 3
"""Servers that change so often; the others change once, when the cause begins."""
CALM_SECONDS = 75.0
"""Time before the causes: the windows of rates then hold calls without errors."""
LONGEST_SECONDS = 1800.0
"""The slowest alert takes 17 minutes, and a window of five minutes empties afterwards."""


@dataclass
class Watched:
    """An operator with its proxy, and what was seen of its alerts."""

    scenario: Scenario
    namespace: str
    proxy: Proxy
    process: OperatorProcess
    measured: Measured
    since: float = 0.0

    def over(self) -> bool:
        """Return whether the alert has fired and ended."""
        return self.measured.resolved_after is not None

    def see(self, firing: bool, now: float) -> None:
        """Note the begin and the end of its alert, and heal the cause at the begin."""
        if self.measured.fired_after is None:
            if firing:
                self.measured.fired_after = now - self.since
                self.proxy.fault, self.since = Fault(), now
                # What a fault holds back does not come later.
                self.proxy.cut()
        elif self.measured.resolved_after is None and not firing:
            self.measured.resolved_after = now - self.since


def wanted() -> list[Scenario]:
    """Return the scenarios that MONITORING_ONLY names; all of them where it is empty."""
    only = os.environ.get("MONITORING_ONLY", "")
    return [one for one in SCENARIOS if not only or one.name in only.split(",")]


@contextlib.contextmanager
def operators(plane: Plane, scenarios: Sequence[Scenario], recorder: Recorder) -> Iterator[list[Watched]]:
    """Run an operator for each scenario, with its servers."""
    kube = plane.kube()
    install_crd(kube)
    with contextlib.ExitStack() as stack:
        found = []
        for scenario in scenarios:
            namespace = stack.enter_context(kube.namespace(scenario.name))
            proxy = stack.enter_context(Proxy(plane.kubeconfig, plane.folder, one_at_a_time=False))
            log = plane.folder / "logs" / f"{namespace}.log"
            process = OperatorProcess(proxy.kubeconfig, log, ["--namespace", namespace, *scenario.arguments])
            kube.reports.append(process.tail)
            stack.callback(process.kill)
            process.start()
            process.wait_ready()
            for name in names(scenario):
                kube.apply(server(name, 0), namespace=namespace)
            measured = recorder.alerts[scenario.alert] = Measured(scenario.cause)
            found.append(Watched(scenario, namespace, proxy, process, measured))
        yield found


def configuration(folder: Path, found: Sequence[Watched]) -> dict[str, Any]:
    """Write the rules of each operator; return the configuration of Prometheus."""
    for one in found:
        objects = operator_manifests("none", one.namespace, (), MonitoringOptions(rules=True))
        (rules,) = [body["spec"] for body in objects if body["kind"] == "PrometheusRule"]
        groups = [{**group, "name": f"{group['name']}.{one.namespace}"} for group in rules["groups"]]
        (folder / f"{one.namespace}.yaml").write_text(yaml.safe_dump({"groups": groups}))
    targets = [
        {"targets": [f"127.0.0.1:{one.process.port}"], "labels": {"namespace": one.namespace, "pod": one.namespace}}
        for one in found
    ]
    return {
        "global": {"scrape_interval": SCRAPE, "evaluation_interval": EVALUATION},
        "rule_files": [f"{folder}/*.yaml"],
        "scrape_configs": [{"job_name": "operator", "honor_labels": True, "static_configs": targets}],
    }


def firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Return the alerts that fire: name and namespace."""
    samples = prometheus.query('ALERTS{alertstate="firing"}', time.time())
    return {(one.labels["alertname"], one.labels.get("namespace", "")) for one in samples}


def follow(kube: Kube, prometheus: Prometheus, found: Sequence[Watched]) -> set[tuple[str, str]]:
    """Cause, cure and watch all at once; return all alerts that were seen."""
    seen: set[tuple[str, str]] = set()
    turn, start = 0, time.time()
    while time.time() - start < LONGEST_SECONDS and not all(one.over() for one in found):
        if time.time() - start > CALM_SECONDS:
            for one in found:
                if not one.since:
                    one.proxy.fault, one.since = one.scenario.fault, time.time()
                    change(kube, one.namespace, names(one.scenario), turn + 1)
        if time.time() - start > turn * CHANGE_SECONDS:
            turn += 1
            for one in found:
                change(kube, one.namespace, names(one.scenario)[:CHANGED], turn)
        now = time.time()
        present = firing(prometheus)
        seen |= present
        for one in found:
            one.see((one.scenario.alert, one.namespace) in present, now)
        time.sleep(1)
    return seen


def test_alerts_about_the_operator_fire_and_resolve(recorder: Recorder, tmp_path: Path) -> None:
    scenarios = wanted()
    if not scenarios:
        pytest.skip("MONITORING_ONLY names none of these scenarios")
    with plane_or_skip() as plane, operators(plane, scenarios, recorder) as found:
        with running(tmp_path, configuration(tmp_path, found)) as prometheus:
            seen = follow(plane.kube(), prometheus, found)
        tails = "\n".join(one.process.tail() for one in found)

        expected = {(name, one.namespace) for one in found for name in (one.scenario.alert, *one.scenario.also)}
        recorder.false_alarms += [json.dumps(one) for one in seen - expected]
        assert seen <= expected
        assert [one.scenario.name for one in found if not one.over()] == [], tails
        assert all(one.process.alive() for one in found), tails
        # After the cure each server is brought to what it asks for.
        for one in found:
            plane.kube().eventually(lambda one=one: judged(plane.kube(), one), within=120)  # type: ignore[misc]


def judged(kube: Kube, one: Watched) -> None:
    """Assert that the operator has taken up every spec, and that the children have the last turn."""
    for name in names(one.scenario):
        found = kube.must_get(KIND, name, one.namespace)
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
        turn = found["spec"]["metadata"]["labels"]["turn"]
        assert kube.must_get("Deployment", name, one.namespace)["metadata"]["labels"]["turn"] == turn
