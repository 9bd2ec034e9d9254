"""One API server for all tests of this folder; every run gets a namespace and an operator of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.support.control_plane import Plane, control_plane, missing
from tests.support.crds import install_monitoring_crds
from tests.support.kube import Kube
from vllm_operator.api.crd import crd


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """etcd, API server and controller manager."""
    if reason := missing():
        pytest.skip(reason)
    with control_plane() as running:
        yield running


@pytest.fixture(scope="session")
def kube(plane: Plane) -> Kube:
    """The cluster with the CRD, and with the optional ones."""
    kube = plane.kube()
    kube.apply(crd(), "--server-side")
    kube.kubectl("wait", "--for=condition=Established", "crd/vllmservers.vllm-operator.dev", "--timeout=20s")
    install_monitoring_crds(kube)
    return kube


@pytest.fixture
def proxy(plane: Plane, kube: Kube) -> Iterator[Proxy]:
    """A proxy in front of the API server, without a fault yet."""
    with Proxy(plane.kubeconfig, plane.folder) as running:
        yield running
