"""Both Helm versions, built once by the test cluster, and the values that the tests render."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chart.programs import PROGRAMS, built
from tests.chart.releases import Releases
from tests.helpers.alone import plane_or_skip
from tools.chart.files import OPERATOR
from tools.chart.helm import Helm
from tools.harness.control_plane import Plane


@pytest.fixture(scope="session", params=PROGRAMS)
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm 3 and Helm 4, without a cluster."""
    return Helm(built(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def helm4(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm 4, for what does not depend on the version."""
    return Helm(built("helm4"), tmp_path_factory.mktemp("helm"))


@pytest.fixture
def copied_chart(tmp_path: Path) -> Path:
    """A copy of the chart of the operator that a test may change."""
    return Path(shutil.copytree(OPERATOR, tmp_path / "vllm-operator"))


@pytest.fixture(scope="session")
def plane() -> Iterator[Plane]:
    """An API server and controller manager for releases, without nodes."""
    with plane_or_skip() as running:
        yield running


@pytest.fixture
def releases(helm: Helm, plane: Plane) -> Iterator[Releases]:
    """Each Helm version on the cluster, which has no release and no CRD before and after."""
    found = Releases(replace(helm, kubeconfig=plane.kubeconfig), plane.kube())
    yield found
    found.remove_all()


@pytest.fixture
def namespace(plane: Plane) -> Iterator[str]:
    with plane.kube().namespace("chart") as name:
        yield name


@pytest.fixture
def other(plane: Plane) -> Iterator[str]:
    with plane.kube().namespace("other") as name:
        yield name
