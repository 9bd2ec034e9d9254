"""Both Helm versions, built once by the test cluster, and the values that the tests render."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.chart.programs import PROGRAMS, built
from tools.chart.helm import Helm


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
    from tools.chart.files import OPERATOR

    return Path(shutil.copytree(OPERATOR, tmp_path / "vllm-operator"))
