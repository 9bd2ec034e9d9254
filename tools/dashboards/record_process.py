"""`python -m tools.dashboards.record_process RELEASE...`: record a real vLLM process of each release under load.

Prometheus scrapes it with the labels that a PodMonitor gives. The recording shows the queries about replicas with the
names of that release; what the operator and kube-state-metrics export is part of the recording of a cluster.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tools.dashboards.check import metrics_of, queries_of, results
from tools.dashboards.prometheus import Prometheus, running
from tools.dashboards.recording import FOLDER, Run, write
from tools.harness.load import Load
from tools.localcluster.report import say
from tools.vllm_releases.environment import install
from tools.vllm_releases.running import MODEL, RunningVLLM

NAMESPACE, SERVER, POD = "llm", "mistral", "mistral-5f9c6d7b8-x2k7b"
SCRAPE_SECONDS = 5
LOAD_SECONDS = 75
"""Longer than the window of rates, whose first samples then have the load, too."""
CLIENTS = 12
SEQUENCES = 4
"""Requests in a batch: fewer than clients, so that a queue forms."""


def record(release: str) -> Path:
    """Record one release; return the file."""
    environment = install(release)
    arguments = ("--max-model-len", "512", "--max-num-seqs", str(SEQUENCES), "--enable-prefix-caching")
    with (
        tempfile.TemporaryDirectory() as name,
        RunningVLLM(environment, *arguments) as vllm,
        running(Path(name), _configuration(vllm.port)) as found,
    ):
        start = time.time()
        with Load(vllm.url, MODEL).from_clients(CLIENTS) as load:
            time.sleep(LOAD_SECONDS)
            end = time.time()
        origin = f"a vLLM {release} process on a CPU, {CLIENTS} clients, {load.total} requests"
        run = Run(release, start, end, {"namespace": NAMESPACE, "server": SERVER}, origin)
        return _written(found, run)


def _written(found: Prometheus, run: Run) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"vllm-{run.vllm}.om.xz"
    samples = write(path, run, found, metrics_of(queries_of(run)), run.end)
    answered = [result for result in results(found, run) if result.series]
    say(f"{run.origin}: {samples} samples, {len(answered)} queries with data; {path}")
    return path


def _configuration(port: int) -> dict[str, object]:
    labels = {"namespace": NAMESPACE, "pod": POD, "container": "vllm", "endpoint": "http"}
    target = {"targets": [f"127.0.0.1:{port}"], "labels": labels}
    interval = f"{SCRAPE_SECONDS}s"
    job = {"job_name": f"{NAMESPACE}/{SERVER}", "static_configs": [target]}
    return {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": [job]}


def main() -> None:
    """Record the releases that the command line names."""
    for release in sys.argv[1:]:
        record(release)


if __name__ == "__main__":
    main()
