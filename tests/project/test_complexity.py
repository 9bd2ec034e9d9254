"""Hold functions and files to the sizes of the style guide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from radon.complexity import cc_visit
from radon.visitors import Class

from tests.helpers.paths import REPOSITORY

MAX_COMPLEXITY = 12
"""Paths through a function, boolean operators counted, as `radon cc` reports them."""
MAX_LINES = 349
SOURCES = sorted([*(REPOSITORY / "operator").rglob("*.py"), *(REPOSITORY / "tools").rglob("*.py")])
PRODUCT = sorted((REPOSITORY / "operator").rglob("*.py"))


def short(path: Path) -> str:
    """Return the path within the repository, as the id of a test."""
    return str(path.relative_to(REPOSITORY))


def complexities(source: str) -> Iterator[tuple[str, int]]:
    """Yield each function and method with its complexity; nested functions count for the one around them."""
    for block in cc_visit(source):
        if not isinstance(block, Class):
            yield block.fullname, block.complexity


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_functions_are_simple(path: Path) -> None:
    found = {name: value for name, value in complexities(path.read_text()) if value > MAX_COMPLEXITY}

    assert found == {}


@pytest.mark.parametrize("path", PRODUCT, ids=short)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_boolean_operators_and_methods_are_counted() -> None:
    source = "class A:\n    def f(self, a, b):\n        return a and b or not a\n"

    assert dict(complexities(source)) == {"A.f": 3}
