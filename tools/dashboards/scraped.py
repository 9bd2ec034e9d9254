"""The targets of a recording of a cluster: the operator, kube-state-metrics and the replicas."""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.harness.operator_process import die_with_parent, free_port
from tools.localcluster import build, settings

Object = dict[str, Any]

OPERATOR_NAMESPACE = "vllm-operator-system"
SCRAPE_SECONDS = 10
STATE_CONFIGURATION = settings.REPOSITORY / "config" / "kube-state-metrics" / "vllmservers.yaml"


@contextlib.contextmanager
def kube_state_metrics(kubeconfig: Path, folder: Path) -> Iterator[int]:
    """Run kube-state-metrics with the configuration for VLLMServers; yield its port."""
    port = free_port()
    command = [str(build.tool("kube-state-metrics", settings.folders())), f"--kubeconfig={kubeconfig}"]
    command += [f"--port={port}", "--host=127.0.0.1", f"--telemetry-port={free_port()}", "--telemetry-host=127.0.0.1"]
    command += ["--resources=deployments,horizontalpodautoscalers"]
    command += [f"--custom-resource-state-config-file={STATE_CONFIGURATION}"]
    with (folder / "kube-state-metrics.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
    try:
        _answers(f"http://127.0.0.1:{port}/metrics")
        yield port
    finally:
        process.terminate()
        process.wait()


def configuration(kubeconfig: Path, namespace: str, operator: int, state: int) -> Object:
    """Return the configuration of Prometheus: the labels are those of PodMonitors with honorLabels."""
    label = "__meta_kubernetes_pod_label_app_kubernetes_io_name"
    discovery = {"role": "pod", "kubeconfig_file": str(kubeconfig), "namespaces": {"names": [namespace]}}
    replicas = {
        "job_name": "replicas",
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            {"source_labels": [label], "regex": "vllm", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http", "action": "keep"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    }
    of_operator = {"namespace": OPERATOR_NAMESPACE, "pod": "vllm-operator-6d5f7c9b8-x2k7b"}
    of_state = {"namespace": "monitoring", "pod": "kube-state-metrics-5b8d9c7f6-q4w8z"}
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            replicas,
            _static("operator", operator, of_operator),
            _static("kube-state-metrics", state, of_state),
        ],
    }


def _static(job: str, port: int, labels: dict[str, str]) -> Object:
    targets = [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]
    return {"job_name": job, "honor_labels": True, "static_configs": targets}


def _answers(url: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
