"""One API server for all tests of this folder, and one operator that watches all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helpers.alone import plane_or_skip
from tests.integration.servers import Servers
from tools.harness import rights
from tools.harness.audit import AuditLog
from tools.harness.control_plane import Plane
from tools.harness.crds import install_keda_crd, install_monitoring_crds
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """etcd, API server and controller manager."""
    with plane_or_skip() as running:
        yield running


@pytest.fixture(scope="session")
def bare(plane: Plane) -> Kube:
    """The cluster before the CRD is in it."""
    return plane.kube()


@pytest.fixture(scope="session")
def audit(plane: Plane) -> AuditLog:
    return plane.audit


@pytest.fixture(scope="session")
def crd_applied(bare: Kube) -> Any:
    """Apply the CRD; return the output of kubectl."""
    answer = bare.apply(crd(), "--server-side")
    bare.wait_for_crds("vllmservers.vllm-operator.dev")
    return answer


@pytest.fixture(scope="session")
def kube(bare: Kube, crd_applied: Any) -> Kube:
    """The cluster with the CRD, and with the optional ones."""
    install_monitoring_crds(bare)
    install_keda_crd(bare)
    return bare


@pytest.fixture(scope="session")
def operator_session(kube: Kube, plane: Plane) -> Iterator[OperatorProcess]:
    """The operator, with the rights that ship; tests that may find it ended ask for `operator`."""
    kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig")
    process = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log")
    kube.reports.append(process.tail)
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        kube.reports.remove(process.tail)
        process.stop()
    asked = rights.requests(plane.audit)
    assert asked, "the operator was to use its service account"
    assert rights.denied(asked) == [], "no test of this folder lets it ask for more than it is given"


@pytest.fixture
def operator(operator_session: OperatorProcess) -> OperatorProcess:
    """The running operator, started again if the test before ended it."""
    if not operator_session.alive():
        operator_session.start()
    operator_session.wait_ready()
    return operator_session


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    with kube.namespace("test") as name:
        yield name


@pytest.fixture
def servers(kube: Kube, operator: OperatorProcess, namespace: str) -> Servers:
    """The VLLMServers of this test, in a new namespace."""
    return Servers(kube, namespace)


@pytest.fixture(scope="module")
def shared_servers(kube: Kube, operator_session: OperatorProcess) -> Iterator[Servers]:
    """VLLMServers that the tests of a module share; only for modules that leave the operator alone."""
    with kube.namespace("shared") as name:
        yield Servers(kube, name)


@pytest.fixture(scope="module")
def apply(kube: Kube) -> Iterator[Callable[..., Any]]:
    """`kubectl apply` in a namespace of the module, without an operator."""
    with kube.namespace("apply") as name:
        yield lambda manifest, *options: kube.apply(manifest, *options, namespace=name, check=False)
