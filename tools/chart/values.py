"""Read a values file with its comments: the description and the schema of each value.

Comment lines directly above a key describe it. Lines that start with `@schema` hold keywords of JSON Schema in YAML's
flow style, without the outer braces. A line `# ---- Title` starts a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]

SECTION = re.compile(r"# ---- (.+)")
KEYWORDS = "@schema "


class ValuesError(Exception):
    """A values file that cannot be documented; the message names file, line and key."""


@dataclass(frozen=True)
class Value:
    """One key of a values file.

    Attributes:
        path: the keys that lead to it, such as ("crds", "keep").
        default: its value in the file.
        description: its comment as one paragraph; empty for a key that only holds others.
        keywords: JSON Schema keywords of its comment.
        section: title of the section that it stands in.
        children: the keys below it, where each of them is a value of the chart.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    keywords: Schema
    section: str
    children: tuple[Value, ...]

    @property
    def name(self) -> str:
        """Return the path as `--set` takes it."""
        return ".".join(self.path)


def read_values(path: Path) -> tuple[Value, ...]:
    """Return the values of a file, in its order.

    Raises:
        ValuesError: a value has no description.
    """
    text = path.read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValuesError(f"{path}: values are a mapping")
    return tuple(_Reader(path, text.splitlines()).values(root, yaml.safe_load(text), ()))


def leaves(values: Iterable[Value]) -> Iterator[Value]:
    """Yield the values that hold no others, in their order."""
    for value in values:
        if value.children:
            yield from leaves(value.children)
        else:
            yield value


@dataclass(frozen=True)
class _Reader:
    path: Path
    lines: list[str]

    def values(self, node: yaml.MappingNode, loaded: Schema, above: tuple[str, ...]) -> Iterator[Value]:
        for key, below in node.value:
            yield self._value(key, below, loaded[key.value], (*above, key.value))

    def _value(self, key: yaml.Node, node: yaml.Node, default: Any, path: tuple[str, ...]) -> Value:
        line = key.start_mark.line
        description, keywords = self._comment(line)
        # A key without a comment groups others. One with a comment is a value, whatever it holds.
        groups = not description and isinstance(node, yaml.MappingNode) and bool(node.value)
        children = tuple(self.values(node, default, path)) if groups and isinstance(node, yaml.MappingNode) else ()
        if not description and not children:
            raise ValuesError(f"{self.path}:{line + 1}: {'.'.join(path)}: write above it what the value does")
        return Value(path, default, description, keywords, self._section(line), children)

    def _comment(self, line: int) -> tuple[str, Schema]:
        words: list[str] = []
        keywords: list[str] = []
        while line and (text := self.lines[line - 1].strip()).startswith("#") and not SECTION.match(text):
            line -= 1
            content = text.removeprefix("#").strip()
            if content.startswith(KEYWORDS):
                keywords.insert(0, content.removeprefix(KEYWORDS))
            else:
                words.insert(0, content)
        return " ".join(words), yaml.safe_load(f"{{{', '.join(keywords)}}}") or {}

    def _section(self, line: int) -> str:
        titles = (SECTION.match(text) for text in reversed(self.lines[:line]))
        return next((title[1] for title in titles if title), "")
