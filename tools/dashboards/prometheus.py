"""A real Prometheus on loopback: over targets that it scrapes, or over recorded series."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.harness.operator_process import die_with_parent, free_port
from tools.localcluster import build, settings

START_SECONDS = 30.0
CALL_SECONDS = 30.0

Json = dict[str, Any]


class PrometheusError(Exception):
    """Prometheus did not start, or refused a query; the message is its own."""


@dataclass(frozen=True)
class Sample:
    """A series of the result of a query: its labels, and its values at Unix times."""

    labels: dict[str, str]
    values: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1][1]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that answers queries."""

    url: str

    def query(self, expr: str, at: float) -> list[Sample]:
        """Return the result of an instant query at a Unix time, without values that are not numbers.

        Raises:
            PrometheusError: the query was refused.
        """
        data = self._get("query", query=expr, time=f"{at:.3f}")
        if data["resultType"] == "scalar":
            return [Sample({}, (_value(data["result"]),))]
        found = [Sample(one["metric"], (_value(one["value"]),)) for one in data["result"]]
        return [sample for sample in found if not math.isnan(sample.last)]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Sample]:
        """Return the values of a query from `start` to `end`, each `step` seconds."""
        data = self._get("query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step}")
        return [Sample(one["metric"], tuple(map(_value, one["values"]))) for one in data["result"]]

    def raw(self, selector: str, window: str, at: float) -> list[Sample]:
        """Return the scraped samples of a selector in the window before a time."""
        data = self._get("query", query=f"{selector}[{window}]", time=f"{at:.3f}")
        return [Sample(one["metric"], tuple(map(_value, one["values"]))) for one in data["result"]]

    def _get(self, path: str, **parameters: str) -> Json:
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", body, timeout=CALL_SECONDS) as answer:
                found: Json = json.load(answer)["data"]
                return found
        except urllib.error.HTTPError as error:
            message = json.load(error).get("error", str(error))
            raise PrometheusError(f"{message}: {parameters.get('query', path)}") from error


@contextmanager
def running(folder: Path, configuration: Json) -> Iterator[Prometheus]:
    """Run a Prometheus for the length of the block.

    Args:
        folder: its folder; the blocks below `data` are read.
        configuration: its configuration file.
    """
    program = build.tool("prometheus", settings.folders())
    (folder / "prometheus.json").write_text(json.dumps(configuration))
    port = free_port()
    command = [str(program), f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data"]
    # Recordings are older than the retention that Prometheus has by default.
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
    found = Prometheus(f"http://127.0.0.1:{port}")
    try:
        _wait(found, process, folder)
        yield found
    finally:
        process.terminate()
        process.wait()


def _wait(found: Prometheus, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{found.url}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise PrometheusError((folder / "prometheus.log").read_text()[-3000:])


def _value(pair: list[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
