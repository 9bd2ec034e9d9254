"""One API server for all tests of this folder; every run gets a namespace and an operator of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.servers import manifest
from tests.faults.proxy import Proxy
from tests.support.control_plane import Plane, control_plane, missing
from tests.support.crds import install_monitoring_crds
from tests.support.kube import KIND, Kube
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
    kube.wait_for_crds("vllmservers.vllm-operator.dev")
    install_monitoring_crds(kube)
    await_garbage_collector(kube)
    return kube


def await_garbage_collector(kube: Kube) -> None:
    """Wait until the garbage collector knows the CRD, which it looks for every half a minute."""
    with kube.namespace("collector") as namespace:
        owner = kube.create(manifest("owner", {}), namespace)
        reference = {name: owner[name] for name in ("apiVersion", "kind")}
        reference |= {name: owner["metadata"][name] for name in ("name", "uid")}
        metadata = {"name": "child", "ownerReferences": [reference]}
        kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, namespace)
        kube.delete(KIND, "owner", namespace)
        kube.eventually(lambda: kube.get("ConfigMap", "child", namespace) is None, within=90)


@pytest.fixture
def proxy(plane: Plane, kube: Kube) -> Iterator[Proxy]:
    """A proxy in front of the API server, without a fault yet."""
    with Proxy(plane.kubeconfig, plane.folder) as running:
        yield running
