"""The optional CRDs that the operator makes use of where a cluster has them."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import settings
from tests.support.kube import Kube

MONITORING_CRDS = ("podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")


@cache
def monitoring_crds() -> tuple[dict[str, Any], ...]:
    """PodMonitor and PrometheusRule, as the Prometheus operator ships them."""
    command = [sys.executable, "-m", "tests.cluster", "crds", "prometheus-operator"]
    done = subprocess.run(command, cwd=settings.REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    folder = Path(done.stdout.strip().splitlines()[-1])
    texts = (file.read_text() for file in sorted(folder.glob("*.yaml")))
    documents = (document for text in texts for document in yaml.load_all(text, yaml.CSafeLoader) if document)
    found = tuple(document for document in documents if document["metadata"]["name"] in MONITORING_CRDS)
    assert len(found) == len(MONITORING_CRDS), f"{folder} holds {len(found)} of {MONITORING_CRDS}"
    return found


def install_monitoring_crds(kube: Kube) -> None:
    """Install them and wait until the API server serves them."""
    for definition in monitoring_crds():
        kube.create(definition)
    names = [f"crd/{name}" for name in MONITORING_CRDS]
    kube.kubectl("wait", "--for=condition=Established", *names, "--timeout=20s")


def remove_monitoring_crds(kube: Kube) -> None:
    """Remove them, and with them every object of these kinds."""
    for name in MONITORING_CRDS:
        kube.delete("CustomResourceDefinition", name)
