"""The layers of the architecture, as a test."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_imports_run_downward_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([str(program), "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_its_layer() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {name.strip() for layer in settings["contracts"][0]["layers"] for name in layer.split("|")}
    package = REPOSITORY / "operator" / "vllm_operator"
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert modules - {"__init__"} == layers


def imported(path: Path) -> set[str]:
    """Return the names of the modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


@pytest.mark.parametrize(("folder", "forbidden"), [("operator", {"tools", "tests"}), ("tools", {"tests"})])
def test_programs_import_nothing_of_the_tests(folder: str, forbidden: set[str]) -> None:
    """The product stands without tools and tests, the tools stand without tests: tests use both."""
    sources = sorted((REPOSITORY / folder).rglob("*.py"))
    packages = {path: {name.partition(".")[0] for name in imported(path)} for path in sources}

    assert len(sources) > 50
    assert {str(path): found & forbidden for path, found in packages.items() if found & forbidden} == {}


def test_cluster_tool_needs_only_the_standard_library() -> None:
    """Run before any Python environment exists."""
    sources = (REPOSITORY / "tools" / "localcluster").rglob("*.py")
    packages = {name.partition(".")[0] for path in sources if path.name != "make_models.py" for name in imported(path)}

    assert packages - sys.stdlib_module_names == {"tools"}
