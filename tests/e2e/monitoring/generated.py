"""The configuration that the real prometheus-operator generates from the objects of a cluster.

prometheus-operator runs as a process with a kubeconfig. A Prometheus object with no replicas selects PodMonitors and
PrometheusRules by their label `release`; its configuration comes as a Secret, its rules as ConfigMaps. An Alertmanager
object takes its route from an AlertmanagerConfig. Both programs then run outside of the cluster.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tools.harness.kube import Kube, Object
from tools.harness.operator_process import die_with_parent, free_port
from tools.harness.real_cluster import tool

RELEASE = {"release": "monitoring-test"}
"""Labels by which this Prometheus selects objects."""

NAME, NAMESPACE = "measured", "default"
GROUP = "monitoring.coreos.com"
SYNC_SECONDS = 60.0
STOP_SECONDS = 20.0
MOST_BYTES = 4 << 20
"""Longest configuration that is read."""

IN_POD = {"SHARD": "0", "POD_NAME": f"prometheus-{NAME}-0"}
"""Variables of the configuration that the config-reloader fills in a pod: without SHARD, no target is kept."""

# The interval of kube-prometheus-stack.
INTERVAL = "30s"

PROMETHEUS: Object = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Prometheus",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 0,
        "evaluationInterval": INTERVAL,
        "scrapeInterval": INTERVAL,
        "podMonitorSelector": {"matchLabels": RELEASE},
        "podMonitorNamespaceSelector": {},
        "ruleSelector": {"matchLabels": RELEASE},
        "ruleNamespaceSelector": {},
        "alerting": {"alertmanagers": [{"name": "alertmanager-operated", "namespace": NAMESPACE, "port": "web"}]},
    },
}
ALERTMANAGER: Object = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Alertmanager",
    "metadata": {"name": NAME},
    "spec": {"replicas": 0, "alertmanagerConfiguration": {"name": NAME}},
}
OBJECTS = (("prometheuses", PROMETHEUS), ("alertmanagers", ALERTMANAGER))


def route(url: str) -> Object:
    """Return the AlertmanagerConfig that sends each alert, and its end, to a URL, almost at once."""
    times = {"groupWait": "1s", "groupInterval": "5s", "repeatInterval": "12h"}
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "AlertmanagerConfig",
        "metadata": {"name": NAME},
        "spec": {
            "route": {"receiver": "test", "groupBy": ["alertname", "namespace", "vllmserver", "window"], **times},
            "receivers": [{"name": "test", "webhookConfigs": [{"url": url, "sendResolved": True}]}],
        },
    }


def crd_files() -> list[Path]:
    """Return the files of all CRDs of prometheus-operator."""
    return sorted(Path(tool("crds", "prometheus-operator")).glob(f"{GROUP}_*.yaml"))


@contextlib.contextmanager
def prometheus_operator(kube: Kube, log: Path, receiver: str = "http://127.0.0.1:9/") -> Iterator[None]:
    """Run prometheus-operator, with its CRDs there, and its objects for the length of the block.

    Args:
        kube: the cluster.
        log: file for the log.
        receiver: URL that notices of Alertmanager go to.
    """
    program = Path(tool("tool", "admission-webhook")).with_name("operator")
    command = [str(program), f"--web.listen-address=127.0.0.1:{free_port()}", "--log-level=warn"]
    environment = {**os.environ, "KUBECONFIG": str(kube.kubeconfig)}
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, preexec_fn=die_with_parent)
    try:
        for body in (route(receiver), ALERTMANAGER, PROMETHEUS):
            kube.apply(body, "--server-side", namespace=NAMESPACE)
        yield
    finally:
        for plural, body in (*OBJECTS, ("alertmanagerconfigs", route(receiver))):
            found = (f"{plural}.{GROUP}", body["metadata"]["name"])
            kube.kubectl("-n", NAMESPACE, "delete", *found, "--ignore-not-found", check=False)
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process; kill it when it does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def configuration(kube: Kube) -> Object | None:
    """Return the generated configuration of Prometheus; None while there is none."""
    return _packed(kube, f"prometheus-{NAME}", "prometheus.yaml.gz", IN_POD)


def alertmanager_configuration(kube: Kube) -> Object | None:
    """Return the generated configuration of Alertmanager; None while there is none."""
    return _packed(kube, f"alertmanager-{NAME}-generated", "alertmanager.yaml.gz")


def rule_files(kube: Kube) -> dict[str, Object]:
    """Return the generated rule files: name -> content."""
    found = kube.get("ConfigMap", f"prometheus-{NAME}-rulefiles-0", NAMESPACE)
    return {name: _as_object(text) for name, text in ((found or {}).get("data") or {}).items()}


def _packed(kube: Kube, secret: str, key: str, variables: Mapping[str, str] = MappingProxyType({})) -> Object | None:
    packed = ((kube.get("Secret", secret, NAMESPACE) or {}).get("data") or {}).get(key)
    if not packed:
        return None
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    text = reader.decompress(base64.b64decode(packed), MOST_BYTES).decode()
    for name, value in variables.items():
        text = text.replace(f"$({name})", value)
    return _as_object(text)


def _as_object(text: str) -> Object:
    found: Any = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def for_a_process(found: Object, kube: Kube, rules: Path, alertmanager: str = "127.0.0.1:9093") -> Object:
    """Return a generated configuration for a Prometheus outside of the cluster.

    It finds pods by a kubeconfig, reads its rules from another folder, and sends alerts to a process instead of pods.
    Everything else stays as prometheus-operator wrote it.
    """
    jobs = [
        {
            **job,
            "kubernetes_sd_configs": [
                {**one, "kubeconfig_file": str(kube.kubeconfig)} for one in job["kubernetes_sd_configs"]
            ],
        }
        for job in found.get("scrape_configs") or []
    ]
    of_pods = {"kubernetes_sd_configs", "relabel_configs"}
    alerting = found.get("alerting") or {}
    receivers = [
        {**{key: value for key, value in one.items() if key not in of_pods},
         "static_configs": [{"targets": [alertmanager]}]}
        for one in alerting.get("alertmanagers") or []
    ]  # fmt: skip
    return {
        **found,
        "scrape_configs": jobs,
        "rule_files": [f"{rules}/*.yaml"],
        "alerting": {**alerting, "alertmanagers": receivers},
    }
