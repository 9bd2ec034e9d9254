"""A control plane without nodes, a served Git repository, and the controllers that read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.programs import built
from tests.helpers.alone import plane_or_skip
from tools.harness.control_plane import Plane
from tools.harness.gitops.argocd import ArgoCd, argo_cd
from tools.harness.gitops.repository import Repository, repository


@pytest.fixture(scope="package")
def plane() -> Iterator[Plane]:
    with plane_or_skip() as running:
        yield running


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A Git repository; each test writes to a folder with its name."""
    with repository(tmp_path_factory.mktemp("git")) as served:
        yield served


@pytest.fixture(scope="module")
def argo(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoCd]:
    """Argo CD, which knows the health of VLLMServers."""
    for program in ("argocd", "helm4"):
        built(program)
    with argo_cd(plane.kube(), tmp_path_factory.mktemp("argocd")) as found:
        yield found


@pytest.fixture
def namespace(plane: Plane) -> Iterator[str]:
    with plane.kube().namespace("gitops") as name:
        yield name


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """The folder of a test in the repository."""
    return str(Path(request.node.originalname.replace("_", "-")))
