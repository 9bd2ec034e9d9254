"""Keep `tests/unit` a mirror of the source, both ways: each test file names a module, each module has its tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from radon.complexity import cc_visit
from radon.visitors import Class

from tests.helpers.paths import REPOSITORY

SOURCE = REPOSITORY / "operator" / "vllm_operator"
UNIT = REPOSITORY / "tests" / "unit"
_REAL_ENVOY = "tests/gateway shows it with the real Envoy"
_REAL_API_SERVER = "tests/gateway/test_api_server.py shows it on a real API server"
ELSEWHERE: dict[str, str] = {
    "controller/gateways.py": _REAL_API_SERVER,
    "install/command.py": "tests/unit/test_main.py runs it",
    "gateway/agent.py": _REAL_API_SERVER,
    "gateway/agent_endpoints.py": _REAL_ENVOY,
    "gateway/applier.py": _REAL_API_SERVER,
    "gateway/cli.py": _REAL_API_SERVER,
    "gateway/drain.py": _REAL_ENVOY,
    "gateway/envoy/bootstrap.py": _REAL_ENVOY,
    "gateway/envoy/build.py": _REAL_ENVOY,
    "gateway/envoy/clusters.py": _REAL_ENVOY,
    "gateway/envoy/listeners.py": _REAL_ENVOY,
    "gateway/exposure.py": "tests/gateway/test_exposure.py shows it on a real API server",
    "gateway/holding.py": _REAL_ENVOY,
    "gateway/object_cache.py": _REAL_API_SERVER,
    "gateway/offline.py": "tests/unit/offline/test_gateway_judgement.py shows it",
    "gateway/reconciler.py": _REAL_API_SERVER,
    "gateway/secret_reader.py": _REAL_API_SERVER,
    "gateway/wake.py": _REAL_API_SERVER,
}
"""Modules with logic whose tests stand elsewhere: path below the package -> reason."""

OF_A_PACKAGE = {
    "linear_time": "the time of every parser of a package grows no faster than its text",
    "built_models": "all modules of a package together agree with models that vLLM built",
}
"""Tests of a property of all modules of a package: name -> property."""


def module_of(test: Path) -> Path | None:
    """Return the module that a test file below `tests/unit` belongs to, relative to the package.

    `a/test_b.py` belongs to `a/b.py`, to the package `a/b/`, or, in a folder of tests, to `a.py`; `test_main.py` to
    `__main__.py`; a name of `OF_A_PACKAGE` to the package. None where no such module exists.
    """
    name = test.stem.removeprefix("test_")
    if name in OF_A_PACKAGE:
        return test.with_name("__init__.py")
    candidates = (
        test.with_name(f"{name}.py"),
        test.with_name(f"__{name}__.py"),
        test.parent / name / "__init__.py",
        test.parent.parent / f"{test.parent.name}.py",
    )
    return next((path for path in candidates if (SOURCE / path).is_file()), None)


def has_logic(path: Path) -> bool:
    """Return whether a function or method of a module decides something: a branch, a loop, a filter, an `or`."""
    blocks = [block for block in cc_visit(path.read_text()) if not isinstance(block, Class)]
    return any(block.complexity > 1 for block in blocks)


def unit_tests() -> list[Path]:
    """Return the test files, relative to `tests/unit`."""
    return [path.relative_to(UNIT) for path in sorted(UNIT.rglob("test_*.py"))]


def modules() -> list[Path]:
    """Return the modules with logic, relative to the package."""
    return [path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py")) if has_logic(path)]


TESTED = {module_of(test) for test in unit_tests()}


@pytest.mark.parametrize("test", unit_tests(), ids=str)
def test_each_test_file_belongs_to_a_module(test: Path) -> None:
    assert module_of(test) is not None, f"tests/unit/{test} mirrors no module of {SOURCE.name}"


@pytest.mark.parametrize("module", modules(), ids=str)
def test_each_module_has_tests(module: Path) -> None:
    assert (module in TESTED) != (str(module) in ELSEWHERE)


def test_exceptions_are_modules() -> None:
    assert [name for name in ELSEWHERE if not (SOURCE / name).is_file()] == []
