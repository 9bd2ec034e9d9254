"""Check the docs tree: each page can be reached, and the decisions are complete and in order."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))


def short(path: Path) -> str:
    """Return the file's name, as the id of a test."""
    return path.name


def linked_from(page: Path) -> set[Path]:
    """Return the pages of the repository that a page links to."""
    targets = {(page.parent / target).resolve() for target in LINK.findall(page.read_text()) if ":" not in target}
    return {target for target in targets if target.suffix == ".md" and target.is_file()}


def test_every_page_can_be_reached_from_the_readme() -> None:
    start = REPOSITORY / "README.md"
    reached, waiting = {start}, [start]
    while waiting:
        new = linked_from(waiting.pop()) - reached
        reached |= new
        waiting += new

    assert sorted(short(page) for page in DOCS.rglob("*.md") if page not in reached) == []


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=short)
def test_decision_says_what_why_and_where(page: Path) -> None:
    text = page.read_text()

    assert text.startswith(f"# {page.name[:4]}: ")
    assert all(part in text for part in ("\n**Decision.** ", "\n**Why.** ", "\n**Where.** "))


@pytest.mark.parametrize("page", DECISIONS, ids=short)
def test_decision_stands_in_the_index_with_its_title(page: Path) -> None:
    title = page.read_text().partition("\n")[0].partition(": ")[2]

    assert f"| [{page.name[:4]}]({page.name}) | {title} |\n" in (DOCS / "decisions" / "README.md").read_text()


def test_architecture_lists_the_packages_in_the_order_of_the_layers() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [{name.strip() for name in layer.split("|")} for layer in settings["contracts"][0]["layers"]]
    rows = re.findall(r"^\| `(\w+)` \| ", (DOCS / "contributing" / "architecture.md").read_text(), re.MULTILINE)
    depths = [next(depth for depth, layer in enumerate(layers) if name in layer) for name in rows]

    assert set(rows) == set().union(*layers[:-1])
    assert depths == sorted(depths)
