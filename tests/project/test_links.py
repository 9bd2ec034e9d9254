"""Follow every link and every path that the repository quotes: none leads nowhere."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} (.+?) *#*$", re.MULTILINE)
ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
QUOTED = re.compile(r"(?<![\w/.:@-])(?:tests|tools|docs|operator/vllm_operator|templates|examples|crds)/[\w./-]*")
SOURCE = re.compile(r"(?<![\w/.:@<{*-])(?:[a-z]\w*/)+\w+\.py\b")
EXAMPLE = re.compile(r"(?:tests/unit/)?a/(?:b/)?")
"""The style guide's example of a mirrored module."""
FOREIGN = frozenset({"utils/argparse_utils.py", "json/__init__.py"})
"""Files of vLLM and of Python."""
MODULE = re.compile(r"python3? -m ((?:tests|tools)[\w.]*)")
RECORDED = ("tests/data/", "tests/golden/expected/", "tests/upgrade/released/")
"""Recordings of other programs."""


@cache
def tracked() -> tuple[str, ...]:
    """Return the files of the repository that are there and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(sorted(name for name in names if (REPOSITORY / name).is_file()))


PAGES = [name for name in tracked() if name.endswith(".md")]
TEXTS = [
    name
    for name in tracked()
    if name.endswith((".py", ".md", ".toml", ".yaml", ".yml", ".j2", ".go", "Makefile", "Dockerfile", ".ci/run"))
    and not name.startswith((*RECORDED, "tests/project/test_links.py", "tests/project/test_mirror.py"))
]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page, as GitHub makes them from its headings."""
    text = page.read_text()
    seen: Counter[str] = Counter()
    found = set(ANCHOR.findall(text))
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def dead_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead to no file, and the anchors that name no heading."""
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        link = link[0] or link[1]
        target, _, anchor = link.partition("#")
        if URL.match(link):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            yield link


def dead_paths(text: str) -> Iterator[str]:
    """Yield the paths and modules of this repository that a text quotes and that do not exist."""
    for match in QUOTED.finditer(text):
        path = match[0].rstrip(".-")
        if text[match.end() : match.end() + 1] in ("<", "{", "*", "$", "…"):
            # A placeholder: the folder before it exists.
            path = path.rpartition("/")[0]
        if not (EXAMPLE.match(path) or (REPOSITORY / path.removesuffix(".new")).exists()):
            yield path
    for path in SOURCE.findall(text):
        if path not in FOREIGN and not (
            EXAMPLE.match(path) or any(f"/{name}".endswith(f"/{path}") for name in tracked())
        ):
            yield path
    for name in MODULE.findall(text):
        path = REPOSITORY / name.rstrip(".").replace(".", "/")
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            yield name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    assert list(dead_links(REPOSITORY / page)) == []


@pytest.mark.parametrize("name", TEXTS)
def test_quoted_paths_exist(name: str) -> None:
    assert list(dead_paths((REPOSITORY / name).read_text())) == []


def test_dead_links_and_paths_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](page.md#one-two) [b](page.md#three) [c](no.md) [d](https://e.org/x) [e](#one-two)\n"
    )

    assert list(dead_links(page)) == ["page.md#three", "no.md"]
    text = "see tests/unit/, docs/no.md, `docs/<page>.md`, status/no.py, status/build.py; python -m tools.no"
    assert list(dead_paths(text)) == ["docs/no.md", "status/no.py", "tools.no"]
