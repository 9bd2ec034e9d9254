"""The table of values in a chart's README."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tools.chart.values import Value, leaves

START = "<!-- values: written by `make charts` from the comments of values.yaml -->\n"
END = "<!-- end of values -->\n"


class ReadmeError(Exception):
    """A README without the place of the table."""


def with_table(text: str, values: Iterable[Value]) -> str:
    """Return the README with the table between its two marks.

    Raises:
        ReadmeError: a mark is missing.
    """
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ReadmeError(f"README.md lacks the lines {START.strip()} and {END.strip()}: add them around the table")
    return f"{head}{START}\n{table(values)}\n{END}{tail}"


def table(values: Iterable[Value]) -> str:
    """Return a table for each section."""
    parts = []
    for section, rows in groupby(leaves(values), key=lambda value: value.section):
        lines = [f"### {section}\n\n"] if section else []
        lines += ["| Value | Default | Meaning |\n", "|---|---|---|\n"]
        lines += [f"| `{row.name}` | {_default(row.default)} | {_cell(row.description)} |\n" for row in rows]
        parts.append("".join(lines))
    return "\n".join(parts)


def _default(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) or value == "" else str(value)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
