"""Run a control plane without nodes for a test session: etcd, API server, controller manager."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.harness.audit import AuditLog
from tools.harness.kube import Kube
from tools.localcluster import build, settings
from tools.localcluster.apiserver import ApiServer


def missing() -> str:
    """Return what this machine lacks to run an API server; empty when nothing is missing."""
    built = any(settings.folders().programs.glob(f"kubernetes-{settings.KUBERNETES}-*"))
    if not built and not shutil.which("go"):
        return "no API server: Kubernetes is built from its Go modules, and Go is not installed"
    return ""


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    folder: Path
    kubeconfig: Path
    audit: AuditLog

    def kube(self) -> Kube:
        """Return the administrator's access to it."""
        return Kube(self.kubeconfig, kubectl_program())


def kubectl_program() -> Path:
    """Return the path of the kubectl of the cluster's version."""
    return build.built("kubernetes", settings.folders()) / "kubectl"


@contextlib.contextmanager
def control_plane() -> Iterator[Plane]:
    """Run a control plane on unused ports for the length of the block; it ends with this process at the latest."""
    with ApiServer.temporary() as server:
        yield Plane(server.folder, server.kubeconfig, AuditLog(server.audit_log))
