"""The charts keep the rules by which chart-testing (`ct lint`) checks files, run by the same two programs.

chart-testing itself is not run: it compares with a Git remote, and asks a forge for the accounts of maintainers.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY
from tools.chart.files import CHARTS, OPERATOR, SERVER
from tools.chart.helm import Helm

RULES = REPOSITORY / "tests" / "data" / "chart_testing"


def yamllint(path: Path) -> str:
    """Return what yamllint finds, with the exit code where it is not 0."""
    command = [sys.executable, "-m", "yamllint", "--strict", "--config-file", RULES / "lintconf.yaml", path]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


def yamale(path: Path) -> int:
    """Return the exit code of yamale for a Chart.yaml."""
    program = Path(sys.executable).with_name("yamale")
    return subprocess.run([program, "--schema", RULES / "chart_schema.yaml", path], capture_output=True).returncode


@pytest.mark.parametrize("chart", [OPERATOR, SERVER], ids=lambda path: path.name)
def test_files_keep_the_rules(chart: Path) -> None:
    for path in (chart / "Chart.yaml", chart / "values.yaml", *chart.glob("ci/*.yaml")):
        assert yamllint(path) == "", path
    assert yamale(chart / "Chart.yaml") == 0


def test_rules_find_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "Chart.yaml"
    wrong.write_text("name:  a\nversion: 1.0.0\napiVersion: v2\nmaintainer: none\n")

    assert "too many spaces after colon" in yamllint(wrong)
    assert yamale(wrong) == 1


@pytest.mark.parametrize("path", sorted(CHARTS.glob("*/ci/*-values.yaml")), ids=lambda path: path.name)
def test_values_for_ci_pass_lint(helm4: Helm, path: Path) -> None:
    assert "0 chart(s) failed" in helm4.run("lint", "--strict", str(path.parents[1]), "--values", str(path))
