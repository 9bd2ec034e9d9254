"""The namespace for cases that need a free pod template, and the CRDs for monitoring."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.field_cases.serving import FREE_LABELS
from tools.harness.crds import install_monitoring_crds, remove_monitoring_crds
from tools.harness.in_cluster import InCluster
from tools.harness.kube import Kube


@pytest.fixture(scope="session")
def free(kube: Kube) -> Iterator[InCluster]:
    """A namespace whose pod templates are free."""
    with kube.namespace("e2e-free", FREE_LABELS) as name:
        yield InCluster(kube, name)
        kube.kubectl("-n", name, "delete", "vllmservers,pvc,pods", "--all", "--timeout=60s", check=False)


@pytest.fixture
def monitoring(kube: Kube) -> Iterator[None]:
    """The cluster with the CRDs of prometheus-operator."""
    install_monitoring_crds(kube)
    yield
    remove_monitoring_crds(kube)
