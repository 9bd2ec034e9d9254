"""Use a whole cluster with the operator as shipped: bring it up, install, and leave it as it was found."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.harness.audit import AuditLog
from tools.harness.kube import Kube, Object
from tools.harness.rights import NAME, SYSTEM
from tools.localcluster import settings
from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.install.manifests import RightsOptions, operator_manifests, to_yaml
from vllm_operator.settings import DEFAULT_ENVOY_IMAGE

RIGHTS = RightsOptions(gateways=True)
"""Rights of the operator of the tests: the default ones, and gateways."""


def tool(*arguments: str) -> str:
    """Run the cluster tool; return the last line that it prints. Its progress goes to the terminal."""
    command = [sys.executable, "-m", "tools.localcluster", *arguments]
    done = subprocess.run(command, cwd=settings.REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"python -m tools.localcluster {' '.join(arguments)} failed: see above"
    return done.stdout.strip().rpartition("\n")[2]


@dataclass(frozen=True)
class RealCluster:
    """A cluster with nodes and, on the local one, an audit log."""

    kube: Kube
    audit: AuditLog | None
    is_local: bool

    @property
    def vllm_image(self) -> str:
        return settings.VLLM_IMAGE

    @property
    def envoy_image(self) -> str:
        """The image of Envoy: that of the wheel on the local cluster, else the published one."""
        return settings.ENVOY_IMAGE if self.is_local else DEFAULT_ENVOY_IMAGE


def cpu_server(cluster: RealCluster, name: str, spec: Object) -> Object:
    """Return a VLLMServer of the tiny model that needs no GPU; `spec` overrides its fields."""
    small = {
        "image": cluster.vllm_image,
        "engine": {"maxModelLen": 512, "enforceEager": True},
        "accelerator": {"resourceName": ""},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "sharedMemory": "256Mi",
        "rollout": {"drainTimeoutSeconds": 5},
    }
    spec = {**small, **spec}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


@contextlib.contextmanager
def real_cluster(nodes: int = 1, serving: tuple[str, ...] = ()) -> Iterator[RealCluster]:
    """Use the cluster that is up, or bring one up and take it down again.

    Args:
        nodes: how many it needs at least, where it is the local one.
        serving: the nodes that get vLLM's image; all when empty.
    """
    was_up = settings.folders().kubeconfig.exists()
    asked = ["--nodes", str(nodes)] if nodes > 1 else []
    kubeconfig = Path(tool("up", *asked).rpartition("KUBECONFIG=")[2])
    is_local = kubeconfig == settings.folders().kubeconfig
    try:
        if is_local:
            tool("vllm-image", *(f"--node={name}" for name in serving))
            tool("envoy-image")
        tool("operator-image")
        audit = AuditLog(settings.folders().audit_log) if is_local else None
        yield RealCluster(Kube(kubeconfig, Path(tool("tool", "kubectl"))), audit, is_local)
    finally:
        if is_local and not was_up:
            tool("down")


@contextlib.contextmanager
def installed_operator(kube: Kube) -> Iterator[None]:
    """Install the operator as it ships and wait for it; remove it afterwards unless it was there before."""
    manifests = to_yaml(operator_manifests(settings.OPERATOR_IMAGE, SYSTEM, rights=RIGHTS))
    was_installed = kube.get("Namespace", SYSTEM) is not None
    kube.reports.append(lambda: operator_log(kube))
    try:
        kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)
        if was_installed:
            kube.kubectl("-n", SYSTEM, "rollout", "restart", f"deployment/{NAME}")
        kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=90s")
        yield
    finally:
        if not was_installed:
            kube.kubectl("delete", "--ignore-not-found", "--timeout=90s", "-f", "-", stdin=manifests, check=False)


def operator_log(kube: Kube) -> str:
    """Return the end of the operator's log."""
    answer = kube.kubectl("-n", SYSTEM, "logs", f"deployment/{NAME}", "--tail=40", check=False)
    return f"operator log:\n{answer.text}"
