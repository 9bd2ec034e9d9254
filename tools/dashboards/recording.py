"""Series of a real run, kept as OpenMetrics, from which Prometheus answers again at any later time."""

from __future__ import annotations

import json
import lzma
import math
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.dashboards.prometheus import Prometheus, running
from tools.localcluster import build, settings

FOLDER = settings.REPOSITORY / "tests" / "data" / "dashboards"
CLUSTER = FOLDER / "cluster.om.xz"
"""The recording of a cluster: replicas, operator and kube-state-metrics."""

OPERATOR = FOLDER / "operator.om.xz"
"""The recording of the operator and kube-state-metrics on an API server without nodes."""

HEAD = "# run "
END = "# EOF\n"
DROPPED_LABELS = frozenset({"__name__", "customresource_group", "customresource_kind", "customresource_version"})


@dataclass(frozen=True)
class Run:
    """The run that a recording is of.

    Attributes:
        vllm: version of vLLM that was scraped.
        start: Unix time of its first sample.
        end: Unix time at which the load was at its height: the time of the table.
        values: values of the variables of the dashboards.
        origin: one line for the reader: what ran.
    """

    vllm: str
    start: float
    end: float
    values: dict[str, str]
    origin: str


def write(path: Path, run: Run, found: Prometheus, metrics: Iterable[str], until: float) -> int:
    """Write the series of some metrics to a file; return the number of samples.

    Args:
        path: the file.
        run: the run.
        found: the Prometheus that scraped it.
        metrics: names of the metrics.
        until: Unix time of the last sample.
    """
    window = f"{math.ceil(until - run.start)}s"
    lines = []
    for metric in sorted(metrics):
        for series in found.raw(metric, window, until):
            labels = _labels(series.labels)
            lines += [f"{metric}{{{labels}}} {value!r} {moment:.3f}\n" for moment, value in series.values]
    with lzma.open(path, "wt") as file:
        file.write(f"{HEAD}{json.dumps(asdict(run))}\n")
        file.writelines(lines)
        file.write(END)
    return len(lines)


def read_run(path: Path) -> Run:
    """Return the run of a recording."""
    with lzma.open(path, "rt") as file:
        return Run(**json.loads(file.readline().removeprefix(HEAD)))


@contextmanager
def replayed(path: Path) -> Iterator[Prometheus]:
    """Run a Prometheus over a recording."""
    with tempfile.TemporaryDirectory(prefix="dashboards-") as name:
        folder = Path(name)
        with lzma.open(path, "rt") as file:
            file.readline()
            (folder / "series.om").write_text(file.read())
        promtool = build.tool("promtool", settings.folders())
        command = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet", "series.om", "data"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        with running(folder, {}) as found:
            yield found


def _labels(labels: dict[str, str]) -> str:
    kept = {name: value for name, value in labels.items() if name not in DROPPED_LABELS}
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(kept.items()))
