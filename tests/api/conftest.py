"""One API server for all tests of this folder, and one operator that watches all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.api.servers import Servers
from tests.cluster.control_plane import ControlPlane
from tests.support import control_plane as planes
from tests.support.audit import AuditLog
from tests.support.kube import Kube
from tests.support.operator_process import OperatorProcess
from vllm_operator.api.crd import crd


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """etcd, API server and controller manager."""
    if reason := planes.missing():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="vllm-operator-api-") as folder, planes.control_plane(Path(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def bare(plane: ControlPlane) -> Kube:
    """The cluster before the CRD is in it."""
    return planes.kube_of(plane)


@pytest.fixture(scope="session")
def audit(plane: ControlPlane) -> AuditLog:
    return planes.audit_of(plane)


@pytest.fixture(scope="session")
def crd_applied(bare: Kube) -> Any:
    """What kubectl said when the CRD was applied."""
    answer = bare.apply(crd(), "--server-side")
    bare.kubectl("wait", "--for=condition=Established", "crd/vllmservers.vllm-operator.dev", "--timeout=20s")
    return answer


@pytest.fixture(scope="session")
def kube(bare: Kube, crd_applied: Any) -> Kube:
    """The cluster with the CRD."""
    return bare


@pytest.fixture(scope="session")
def operator_session(kube: Kube, plane: ControlPlane) -> Iterator[OperatorProcess]:
    """The operator; tests that may find it ended ask for `operator`."""
    process = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / "operator.log")
    kube.reports.append(process.tail)
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        kube.reports.remove(process.tail)
        process.stop()


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
    """The VLLMServers of this test, in a namespace of its own."""
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
