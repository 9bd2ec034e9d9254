"""The configuration that the real prometheus-operator generates from the objects of a cluster.

prometheus-operator runs as a process with a kubeconfig. A Prometheus object with no replicas selects PodMonitors and
PrometheusRules by their label `release`; its configuration comes as a Secret, its rules as ConfigMaps.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.monitoring.prometheus import RELEASE
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import die_with_parent, free_port
from tools.harness.real_cluster import tool

NAME, NAMESPACE = "measured", "default"
SECRET, RULES = f"prometheus-{NAME}", f"prometheus-{NAME}-rulefiles-0"
GROUP = "monitoring.coreos.com"
SYNC_SECONDS = 60.0
MOST_BYTES = 4 << 20
"""Longest configuration that is read."""

PROMETHEUS: Object = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Prometheus",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 0,
        "evaluationInterval": "30s",
        "scrapeInterval": "30s",
        "podMonitorSelector": {"matchLabels": RELEASE},
        "podMonitorNamespaceSelector": {},
        "ruleSelector": {"matchLabels": RELEASE},
        "ruleNamespaceSelector": {},
    },
}


def crd_files() -> list[Path]:
    """Return the files of all CRDs of prometheus-operator."""
    return sorted(Path(tool("crds", "prometheus-operator")).glob(f"{GROUP}_*.yaml"))


@contextlib.contextmanager
def prometheus_operator(kube: Kube, log: Path) -> Iterator[None]:
    """Run prometheus-operator, with its CRDs there, and a Prometheus object for the length of the block."""
    program = Path(tool("tool", "admission-webhook")).with_name("operator")
    command = [str(program), f"--web.listen-address=127.0.0.1:{free_port()}", "--log-level=warn"]
    environment = {**os.environ, "KUBECONFIG": str(kube.kubeconfig)}
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, preexec_fn=die_with_parent)
    try:
        kube.apply(PROMETHEUS, "--server-side", namespace=NAMESPACE)
        yield
    finally:
        kube.kubectl("-n", NAMESPACE, "delete", f"prometheuses.{GROUP}", NAME, "--ignore-not-found", check=False)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(kube: Kube) -> Object | None:
    """Return the generated configuration of Prometheus; None while there is none."""
    secret = kube.get("Secret", SECRET, NAMESPACE)
    packed = ((secret or {}).get("data") or {}).get("prometheus.yaml.gz")
    return _as_object(_unpacked(packed)) if packed else None


def rule_files(kube: Kube) -> dict[str, Object]:
    """Return the generated rule files: name -> content."""
    found = kube.get("ConfigMap", RULES, NAMESPACE)
    return {name: _as_object(text) for name, text in ((found or {}).get("data") or {}).items()}


def _unpacked(packed: str) -> str:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    return reader.decompress(base64.b64decode(packed), MOST_BYTES).decode()


def _as_object(text: str) -> Object:
    found: Any = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def for_a_process(found: Object, kube: Kube, rules: Path) -> Object:
    """Return a generated configuration for a Prometheus outside of the cluster: other paths, and a kubeconfig."""
    jobs = [
        {
            **job,
            "kubernetes_sd_configs": [
                {**one, "kubeconfig_file": str(kube.kubeconfig)} for one in job["kubernetes_sd_configs"]
            ],
        }
        for job in found.get("scrape_configs") or []
    ]
    return {**found, "scrape_configs": jobs, "rule_files": [f"{rules}/*.yaml"]}
