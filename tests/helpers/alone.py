"""An API server with one operator, and nobody else: for tests of what belongs to everybody, such as CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tools.harness.control_plane import Plane, control_plane, missing
from tools.harness.crds import install_monitoring_crds
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd

CRD = "vllmservers.vllm-operator.dev"


@dataclass(frozen=True)
class Alone:
    """A control plane with the CRD, the administrator's view of it, and one operator with all rights."""

    plane: Plane
    kube: Kube
    process: OperatorProcess


@contextmanager
def plane_or_skip() -> Iterator[Plane]:
    """etcd, API server and controller manager; skips the test where they cannot be had."""
    if reason := missing():
        pytest.skip(reason)
    with control_plane() as plane:
        yield plane


def install_crd(kube: Kube) -> None:
    """Install the operator's CRD and wait until it is served."""
    kube.apply(crd(), "--server-side")
    kube.wait_for_crds(CRD)


@contextmanager
def operator_alone(*, monitoring: bool = False) -> Iterator[Alone]:
    """Start a separate cluster and an operator that is ready; with the optional CRDs if `monitoring` is set."""
    with plane_or_skip() as plane:
        kube = plane.kube()
        install_crd(kube)
        if monitoring:
            install_monitoring_crds(kube)
        process = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / "operator.log")
        kube.reports.append(process.tail)
        process.start()
        try:
            process.wait_ready()
            yield Alone(plane, kube, process)
        finally:
            process.kill()
