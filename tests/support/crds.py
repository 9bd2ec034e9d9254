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
    # The file of a kind is named group_plural.yaml. The others hold YAML that PyYAML does not read.
    files = ("_".join(reversed(name.split(".", 1))) + ".yaml" for name in MONITORING_CRDS)
    return tuple(yaml.load((folder / file).read_text(), yaml.CSafeLoader) for file in files)


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
