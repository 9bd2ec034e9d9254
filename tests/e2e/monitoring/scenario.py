"""A cause that is done to the cluster, the alerts that must fire for it, and its cure."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.monitoring.alertmanager import Receiver
from tests.e2e.monitoring.generated import RELEASE
from tests.e2e.monitoring.prometheus import Prometheus, Watch
from tests.e2e.monitoring.recorder import Measured, Recorder
from tools.harness.kube import Kube, Object
from tools.harness.real_cluster import RealCluster, cpu_server

LONGEST_FIRE, LONGEST_RESOLVE = 1500.0, 900.0
"""Seconds to wait at most: the slowest alert takes 20 minutes, and a window of five minutes empties twice."""


NOTICE_SECONDS = 60.0
"""Seconds from an alert to the notice of Alertmanager, which waits for more alerts of its group."""
SYNC_SECONDS = 90.0
"""Seconds until prometheus-operator and Prometheus have taken up new objects."""


@dataclass
class World:
    """What every scenario needs."""

    cluster: RealCluster
    namespace: str
    prometheus: Prometheus
    watch: Watch
    recorder: Recorder
    receiver: Receiver
    deadline: float
    begun: dict[str, threading.Event] = field(default_factory=dict)
    """An event for each scenario that runs, set when its cause is there."""
    threads: dict[str, threading.Thread] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    expected: list[dict[str, str]] = field(default_factory=list)
    """Labels of alerts that have a cause: all others are false alarms."""

    @property
    def kube(self) -> Kube:
        return self.cluster.kube

    def apply(self, name: str, spec: Object) -> None:
        """Apply a server of the tiny model whose objects Prometheus selects."""
        monitoring = {"labels": RELEASE, **spec.pop("monitoring", {})}
        body = cpu_server(
            self.cluster, name, {"model": {"uri": "file:///models/tiny"}, "monitoring": monitoring, **spec}
        )
        body["spec"]["engine"] = {"maxModelLen": 512, "enforceEager": True, **spec.get("engine", {})}
        self.kube.apply(body, namespace=self.namespace)

    def pods(self, server: str) -> list[Object]:
        """Return the pods of a server that are not being deleted."""
        found = self.kube.list("Pod", self.namespace, f"app.kubernetes.io/instance={server}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def ready_pod(self, server: str) -> Object:
        """Wait until the one pod of a server serves, and return it."""

        def serving() -> Object:
            ready = [
                pod
                for pod in self.pods(server)
                for condition in pod["status"].get("conditions") or []
                if condition["type"] == "Ready" and condition["status"] == "True"
            ]
            assert len(ready) == 1, f"{len(ready)} pods of {server} are ready"
            return ready[0]

        left = max(5.0, self.deadline - time.time())
        pod: Object = self.kube.eventually(serving, within=left, namespace=self.namespace)
        self.kube.eventually(lambda: self.prometheus.has_rules_of(server), within=SYNC_SECONDS)
        return pod

    def wait_for_the_others(self) -> None:
        """Wait until the causes of all other scenarios are there; those about the operator wait in turn."""
        for name, event in self.begun.items():
            if name not in {threading.current_thread().name, "leader"}:
                event.wait(max(0.0, self.deadline - time.time()))

    def wait_for_the_end_of(self, scenario: Scenario) -> None:
        """Wait until another scenario has ended, where it runs."""
        if thread := self.threads.get(scenario.__name__):
            thread.join(max(0.0, self.deadline - time.time()))

    def wait(self, check: Callable[[], float | None], seconds: float) -> float | None:
        """Return the time that `check` finds; None when it finds none in these seconds or until the deadline."""
        end = min(time.time() + seconds, self.deadline)
        while (found := check()) is None and time.time() < end:
            time.sleep(0.5)
        return found

    def notice(self, alert: str, status: str, since: float, labels: dict[str, str]) -> float | None:
        """Return the seconds until Alertmanager sent a notice; None where none came soon."""
        at = self.wait(lambda: self.receiver.first(alert, status, since, labels), NOTICE_SECONDS)
        return None if at is None else at - since

    def _begin(self) -> None:
        if event := self.begun.get(threading.current_thread().name):
            event.set()

    def measure(self, cause: str, alerts: tuple[str, ...], inflict: Callable[[], object], **labels: str) -> Injury:
        """Do something to the cluster, and wait until all these alerts have fired.

        MONITORING_SKIP names alerts that are not waited for, such as `VLLMPreemptions`, which takes 15 minutes.
        """
        self.expected += [{"alertname": alert, **labels} for alert in alerts]
        alerts = tuple(alert for alert in alerts if alert not in os.environ.get("MONITORING_SKIP", "").split(","))
        for alert in alerts:
            self.recorder.alerts[alert] = Measured(cause)
        since = time.time()
        if alerts:
            inflict()
        self._begin()
        for alert in alerts:
            at = self.wait(lambda alert=alert: self.watch.fired(alert, since, **labels), LONGEST_FIRE)  # type: ignore[misc]
            measured = self.recorder.alerts[alert]
            measured.fired_after = None if at is None else at - since
            if at is not None:
                measured.notified_after = self.notice(alert, "firing", since, labels)
        return Injury(self, alerts, labels)


@dataclass(frozen=True)
class Injury:
    """Alerts that fire, and wait for the cure of their cause."""

    world: World
    alerts: tuple[str, ...]
    labels: dict[str, str]

    def heal(self, cure: Callable[[], object]) -> None:
        """Undo the cause, and wait until the alerts have ended."""
        since = time.time()
        if self.alerts:
            cure()
        for alert in self.alerts:
            measured = self.world.recorder.alerts[alert]
            if measured.fired_after is not None:
                at = self.world.wait(
                    lambda alert=alert: self.world.watch.resolved(alert, since, **self.labels),  # type: ignore[misc]
                    LONGEST_RESOLVE,
                )
                measured.resolved_after = None if at is None else at - since
                if at is not None:
                    measured.end_notified_after = self.world.notice(alert, "resolved", since, self.labels)


Scenario = Callable[[World], None]


def wanted(scenario: Scenario) -> bool:
    """Return whether MONITORING_ONLY, a list of names such as `pressed,frozen`, is empty or has this one."""
    only = os.environ.get("MONITORING_ONLY", "")
    return not only or scenario.__name__ in only.split(",")


def side_by_side(world: World, scenarios: tuple[Scenario, ...]) -> None:
    """Run the wanted scenarios in threads; return when all have ended."""

    def run(scenario: Scenario) -> None:
        try:
            scenario(world)
        except Exception:
            world.errors.append(f"{scenario.__name__}: {traceback.format_exc()}")
        finally:
            world.begun[scenario.__name__].set()

    chosen = [one for one in scenarios if wanted(one)]
    world.begun = {one.__name__: threading.Event() for one in chosen}
    world.threads = {
        one.__name__: threading.Thread(target=run, name=one.__name__, args=(one,), daemon=True) for one in chosen
    }
    for thread in world.threads.values():
        thread.start()
    for thread in world.threads.values():
        thread.join(max(30.0, world.deadline - time.time() + 30))
