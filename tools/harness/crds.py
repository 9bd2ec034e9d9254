"""Install the optional CRDs, whose kinds the operator uses where a cluster has them."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from tools.harness.kube import Kube
from tools.localcluster import build, settings

MONITORING_CRDS = ("podmonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")


@cache
def monitoring_crds() -> tuple[Path, ...]:
    """Return the manifests of PodMonitor and PrometheusRule, as the Prometheus operator ships them."""
    command = [sys.executable, "-m", "tools.localcluster", "crds", "prometheus-operator"]
    done = subprocess.run(command, cwd=settings.REPOSITORY, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    return tuple(folder / f"monitoring.coreos.com_{name.partition('.')[0]}.yaml" for name in MONITORING_CRDS)


def install_monitoring_crds(kube: Kube) -> None:
    """Install them and wait until the API server serves them."""
    files = [argument for path in monitoring_crds() for argument in ("-f", str(path))]
    kube.kubectl("apply", "--server-side", *files)
    kube.wait_for_crds(*MONITORING_CRDS)


def remove_monitoring_crds(kube: Kube) -> None:
    """Remove them, and with them every object of these kinds; wait until the discovery of the API server lacks them."""
    for name in MONITORING_CRDS:
        kube.delete("CustomResourceDefinition", name)

    def gone() -> None:
        listed = kube.kubectl("api-resources", "--api-group=monitoring.coreos.com", "--output=name").stdout.split()
        assert not set(listed) & set(MONITORING_CRDS)

    kube.eventually(gone, within=30)


def install_http_route_crd(kube: Kube) -> None:
    """Install the CRD of HTTPRoute, as Gateway API ships it."""
    path = build.crds("gateway-api") / "gateway.networking.k8s.io_httproutes.yaml"
    kube.apply(path.read_text(), "--server-side", "--force-conflicts")
    kube.wait_for_crds("httproutes.gateway.networking.k8s.io")


def install_inference_pool_crd(kube: Kube) -> None:
    """Install the CRD of InferencePool, as the inference extension of Gateway API ships it (August 2026)."""
    path = settings.REPOSITORY / "tests" / "data" / "gateway" / "inferencepools.yaml"
    kube.apply(path.read_text(), "--server-side", "--force-conflicts")
    kube.wait_for_crds("inferencepools.inference.networking.k8s.io")


def install_keda_crd(kube: Kube) -> None:
    """Install the CRD of KEDA's ScaledObjects."""
    text = (build.crds("keda") / "keda.sh_scaledobjects.yaml").read_text()
    kube.apply(text, "--server-side", "--force-conflicts")
    kube.wait_for_crds("scaledobjects.keda.sh")
