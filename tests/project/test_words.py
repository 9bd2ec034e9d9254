"""Hold docstrings, messages and docs to the glossary: no forbidden words, no riddles at the start of a docstring."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY

GLOSSARY = REPOSITORY / "docs" / "contributing" / "glossary.md"
OPENINGS = re.compile(r"(What|Whether|Who)\b")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]*`")

SOURCES = sorted([*(REPOSITORY / "operator").rglob("*.py"), *(REPOSITORY / "tools").rglob("*.py")])
PAGES = sorted(
    path
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "tools").rglob("*.md")]
    if path != GLOSSARY
)


@cache
def forbidden() -> re.Pattern[str]:
    """Return the pattern of the words in the last table of the glossary."""
    table = GLOSSARY.read_text().rpartition("## Words not to use")[2]
    rows = re.findall(r"^\| ([a-z, ]+) \|", table, re.MULTILINE)
    words = [word.strip() for row in rows for word in row.split(",")]
    assert len(words) > 10, "the glossary lists the forbidden words in its last table"
    return re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


def documented(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each docstring of a module with its line, those of attributes and constants included."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for child in body if isinstance(body, list) else []:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant) and type(child.value.value) is str:
                yield child.lineno, child.value.value


def short(path: Path) -> str:
    """Return the path within the repository, as the id of a test."""
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_docstrings_use_plain_words(path: Path) -> None:
    found = []
    for line, text in documented(ast.parse(path.read_text())):
        prose = CODE.sub("", text)
        found += [f"{short(path)}:{line}: {word!r}" for word in forbidden().findall(prose)]
        if opening := OPENINGS.match(text.strip()):
            found.append(f"{short(path)}:{line}: starts with {opening[1]!r}")

    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_messages_use_plain_words(path: Path) -> None:
    tree = ast.parse(path.read_text())
    docstrings = {line for line, _ in documented(tree)}
    found = [
        f"{short(path)}:{node.lineno}: {word!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in docstrings
        for word in forbidden().findall(CODE.sub("", node.value))
    ]

    assert found == []


@pytest.mark.parametrize("path", PAGES, ids=short)
def test_docs_use_plain_words(path: Path) -> None:
    prose = CODE.sub("", FENCE.sub("", path.read_text()))
    found = [f"{short(path)}: {word!r}" for word in forbidden().findall(prose)]

    assert found == []
