"""A real Prometheus as a process next to the cluster, with the configuration that prometheus-operator generates.

It finds and scrapes pods and evaluates rules as the objects of the cluster say. A thread reloads it when that changes,
as the config-reloader does in a pod.
"""

from __future__ import annotations

import contextlib
import json
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

from tests.e2e.monitoring import generated
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import die_with_parent, free_port

START_SECONDS = 60.0
POLL_SECONDS = 1.0
SYNC_SECONDS = 3.0
"""Seconds between two reads of the generated configuration."""
MOST_BYTES = 16 << 20
"""Longest answer of Prometheus that is read."""


@dataclass
class Prometheus:
    """The process. Its answers are read by its API, on a loopback address.

    Attributes:
        program: the executable.
        kube: the cluster, with prometheus-operator and its objects.
        folder: for configuration, data and log.
        alertmanager: address of Alertmanager.
        refused: what Prometheus answered when it refused a configuration.
    """

    program: Path
    kube: Kube
    folder: Path
    alertmanager: str
    port: int = field(default_factory=free_port)
    refused: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _written: tuple[Object, dict[str, Object]] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Prometheus]:
        """Run it for the length of the block; nothing is left of it afterwards."""
        self.kube.eventually(self._write_configuration, within=generated.SYNC_SECONDS)
        command = [
            str(self.program), f"--config.file={self.folder}/prometheus.yaml",
            f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle", "--log.level=warn",
        ]  # fmt: skip
        with (self.folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        thread = threading.Thread(target=self._follow, daemon=True)
        try:
            self._wait_ready()
            thread.start()
            yield self
        finally:
            self._over.set()
            generated.stop(self._process)

    def _write_configuration(self) -> bool:
        """Write what prometheus-operator generated; return whether it is new."""
        found, files = generated.configuration(self.kube), generated.rule_files(self.kube)
        if found is None or (found, files) == self._written:
            return False
        rules = self.folder / "rules"
        rules.mkdir(exist_ok=True)
        for path in rules.iterdir():
            if path.name not in files:
                path.unlink()
        for name, content in files.items():
            (rules / name).write_text(yaml.safe_dump(content))
        own = generated.for_a_process(found, self.kube, rules, self.alertmanager)
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(own))
        self._written = found, files
        return True

    def _follow(self) -> None:
        while not self._over.wait(SYNC_SECONDS):
            # The cluster may be slow: what failed is tried again.
            with contextlib.suppress(Exception):
                if self._write_configuration():
                    self._reload()

    def _reload(self) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/-/reload", method="POST")
        try:
            urllib.request.urlopen(request, timeout=60).read()
        except OSError as error:
            self.refused.append(f"{error}\n{self.tail()}")

    def has_rules_of(self, server: str) -> bool:
        """Return whether the rules of a server are evaluated."""
        return any(group["name"] == f"vllmserver.{server}" for group in self.get("rules")["groups"])

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
