"""A control plane without nodes, for as long as a test session lasts: etcd, API server, controller manager."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import build, settings
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ports import pick
from tests.support.audit import AuditLog
from tests.support.kube import Kube


def missing() -> str:
    """What this machine lacks to run an API server; empty when it can."""
    built = any(settings.folders().programs.glob(f"kubernetes-{settings.KUBERNETES}-*"))
    if not built and not shutil.which("go"):
        return "no API server: Kubernetes is built from its Go modules, and Go is not installed"
    return ""


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """A running control plane in `folder`, on ports that nothing else uses; it dies with this process."""
    plane = ControlPlane(
        folder=folder,
        programs=build.built("kubernetes", settings.folders()),
        ports=pick({"api": 0, "etcd": 0, "etcd_peer": 0}),
        with_scheduler=False,
        dies_with_caller=True,
    )
    try:
        plane.prepare()
        plane.start()
        yield plane
    finally:
        plane.processes.stop(plane.processes.names())


def kube_of(plane: ControlPlane) -> Kube:
    """The administrator's view of it."""
    return Kube(plane.kubeconfig, plane.programs / "kubectl")


def audit_of(plane: ControlPlane) -> AuditLog:
    """Its audit log."""
    return AuditLog(plane.folder / "logs" / "audit.log")
