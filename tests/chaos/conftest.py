"""One API server for all tests of this folder; every run gets a new namespace and operator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.collector import await_garbage_collector
from tests.chaos.endurance import change, single, stage
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.state import end_state
from tests.helpers.alone import install_crd, plane_or_skip
from tools.harness.control_plane import Plane
from tools.harness.crds import install_monitoring_crds
from tools.harness.kube import Kube


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """etcd, API server and controller manager."""
    with plane_or_skip() as running:
        yield running


@pytest.fixture(scope="session")
def kube(plane: Plane) -> Kube:
    """The cluster with the CRD, and with the optional ones."""
    kube = plane.kube()
    install_crd(kube)
    install_monitoring_crds(kube)
    await_garbage_collector(kube)
    return kube


@pytest.fixture
def proxy(plane: Plane, kube: Kube) -> Iterator[Proxy]:
    """A proxy in front of the API server, without a fault yet."""
    with Proxy(plane.kubeconfig, plane.folder) as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(kube: Kube, plane: Plane) -> tuple[str, int]:
    """The end state of what is endured, without a fault, and the calls that it took."""
    with Proxy(plane.kubeconfig, plane.folder) as proxy, stage(kube, plane, proxy, Fault()) as found:
        before = len(proxy.calls)
        change(found)
        found.settle(2.5)
        return end_state(kube, found.namespace), proxy.count(single(found), before)
