"""A real Prometheus as a process next to the cluster: it scrapes pods and evaluates the rules of the cluster's objects.

The PodMonitors and PrometheusRules are read from the cluster by their label `release`, as a Prometheus object selects
them. The scrape configuration has what prometheus-operator makes of a PodMonitor: a target for each pod with the named
port, with the labels namespace, pod, container and job.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tools.harness.kube import Kube, Object
from tools.harness.operator_process import die_with_parent, free_port

RELEASE = {"release": "monitoring-test"}
"""Labels by which this Prometheus selects objects."""

START_SECONDS = 60.0
POLL_SECONDS = 1.0
MOST_BYTES = 16 << 20
"""Longest answer of Prometheus that is read."""


def scrape_configs(kube: Kube) -> list[Object]:
    """Return a job for each endpoint of the selected PodMonitors."""
    return [
        _job(kube, monitor, endpoint, number)
        for monitor in _selected(kube, "PodMonitor")
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def _job(kube: Kube, monitor: Object, endpoint: Object, number: int) -> Object:
    namespace, name = monitor["metadata"]["namespace"], monitor["metadata"]["name"]
    labels = monitor["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    keep_port = {
        "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"], "action": "keep"
    }  # fmt: skip
    ended = {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"}
    copied = [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
        for source, target in (("namespace", "namespace"), ("pod_container_name", "container"), ("pod_name", "pod"))
    ]
    job = {"target_label": "job", "replacement": f"{namespace}/{name}"}
    discovery = {
        "role": "pod",
        "kubeconfig_file": str(kube.kubeconfig),
        "namespaces": {"names": [namespace]},
        "selectors": [{"role": "pod", "label": selector}],
    }
    return {
        "job_name": f"podMonitor/{namespace}/{name}/{number}",
        "metrics_path": endpoint.get("path", "/metrics"),
        "scrape_interval": endpoint.get("interval", "30s"),
        "scrape_timeout": "10s",
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [keep_port, ended, *copied, job],
        "metric_relabel_configs": [_snake(rule) for rule in endpoint.get("metricRelabelings", [])],
    }


def _snake(rule: Object) -> Object:
    return {{"sourceLabels": "source_labels", "targetLabel": "target_label"}.get(key, key): value
            for key, value in rule.items()}  # fmt: skip


def rule_groups(kube: Kube) -> list[Object]:
    """Return the groups of the selected PrometheusRules, with names that are unique in one file."""
    return [
        {**group, "name": f"{rule['metadata']['namespace']}.{group['name']}"}
        for rule in _selected(kube, "PrometheusRule")
        for group in rule["spec"]["groups"]
    ]


def _selected(kube: Kube, kind: str) -> list[Object]:
    selector = ",".join(f"{key}={value}" for key, value in RELEASE.items())
    return kube.list(kind, selector=selector)


@dataclass
class Prometheus:
    """The process. Its answers are read by its API, on a loopback address."""

    program: Path
    kube: Kube
    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Prometheus]:
        """Run it for the length of the block; nothing is left of it afterwards."""
        self.write_configuration()
        command = [
            str(self.program), f"--config.file={self.folder}/prometheus.yaml",
            f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle", "--log.level=warn",
        ]  # fmt: skip
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        try:
            self._wait_ready()
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def write_configuration(self) -> None:
        """Write what the objects of the cluster ask for now."""
        configuration = {
            # The interval of kube-prometheus-stack.
            "global": {"scrape_interval": "30s", "evaluation_interval": "30s"},
            "rule_files": [str(self.folder / "rules.yaml")],
            "scrape_configs": scrape_configs(self.kube),
        }
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"groups": rule_groups(self.kube)}))
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))

    def reload(self) -> None:
        """Read the objects of the cluster again.

        Raises:
            AssertionError: Prometheus refuses them.
        """
        self.write_configuration()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/-/reload", method="POST")
        try:
            urllib.request.urlopen(request, timeout=60).read()
        except OSError as error:
            raise AssertionError(f"Prometheus refuses the configuration: {error}\n{self.tail()}") from error

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5).read()
                return
            assert self._process.poll() is None, f"Prometheus ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"Prometheus is not ready:\n{self.tail()}"
            time.sleep(0.2)

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}{query}", timeout=30) as answer:
            return json.loads(answer.read(MOST_BYTES))["data"]

    def query(self, expression: str) -> list[Object]:
        """Return the samples of an instant query."""
        found: list[Object] = self.get("query", query=expression)["result"]
        return found

    def firing(self) -> list[dict[str, str]]:
        """Return the labels of all alerts that fire now."""
        return [alert["labels"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"]

    def sick_rules(self) -> list[str]:
        """Return the rules whose last evaluation ended with an error."""
        groups = self.get("rules")["groups"]
        return [
            f"{rule['name']}: {rule.get('lastError')}"
            for group in groups for rule in group["rules"] if rule["health"] == "err"
        ]  # fmt: skip

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        path = self.folder / "prometheus.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "no log"


@dataclass
class Watch:
    """All that fires, from the start to the end: seconds since the epoch of the first and of the last sight.

    Attributes:
        began: alert and its labels -> when it was first seen firing, for each time that it fired.
        ended: the same -> when it was first not seen any more.
    """

    prometheus: Prometheus
    began: dict[str, list[tuple[float, dict[str, str]]]] = field(default_factory=dict)
    ended: dict[str, list[tuple[float, dict[str, str]]]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        """Poll Prometheus in the background for the length of the block."""
        thread = threading.Thread(target=self._poll, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(60)

    def _poll(self) -> None:
        present: dict[str, dict[str, str]] = {}
        while not self._over.wait(POLL_SECONDS):
            with contextlib.suppress(OSError, ValueError, KeyError):
                now = time.time()
                found = {json.dumps(labels, sort_keys=True): labels for labels in self.prometheus.firing()}
                for key in found.keys() - present.keys():
                    self.began.setdefault(found[key]["alertname"], []).append((now, found[key]))
                for key in present.keys() - found.keys():
                    self.ended.setdefault(present[key]["alertname"], []).append((now, present[key]))
                present = found

    def fired(self, alert: str, since: float, **labels: str) -> float | None:
        """Return when an alert with these labels began to fire after a time; None while it has not."""
        return _first(self.began, alert, since, labels)

    def resolved(self, alert: str, since: float, **labels: str) -> float | None:
        """Return when it ended after a time; None while it has not."""
        return _first(self.ended, alert, since, labels)

    def all_fired(self) -> list[dict[str, str]]:
        """Return the labels of all that has fired."""
        return [labels for seen in self.began.values() for _, labels in seen]


def _first(
    seen: dict[str, list[tuple[float, dict[str, str]]]], alert: str, since: float, labels: dict[str, str]
) -> float | None:
    times = [at for at, found in list(seen.get(alert, [])) if at >= since and labels.items() <= found.items()]
    return min(times, default=None)
