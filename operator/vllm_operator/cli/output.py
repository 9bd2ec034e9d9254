"""Print objects as kubectl does: JSON, YAML, names or a table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from vllm_operator.api.names import GROUP, SINGULAR
from vllm_operator.cli import console
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import name_of


def print_data(data: Any, output: str) -> None:
    """Print a value as `json` or `yaml`. Both escape control characters."""
    if output == "json":
        import orjson

        click.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
    else:
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=120), nl=False)


def print_objects(objects: Sequence[Mapping[str, Any]], output: str, *, single: bool) -> None:
    """Print objects as `json`, `yaml` or `name`; several as one List, as kubectl does."""
    if output == "name":
        for body in objects:
            kind, group = clean(body.get("kind") or SINGULAR).lower(), clean(body.get("apiVersion")).rpartition("/")[0]
            click.echo(f"{kind}.{group or GROUP}/{name_of(body)}")
        return
    bodies = [without_managed_fields(body) for body in objects]
    print_data(bodies[0] if single else {"apiVersion": "v1", "kind": "List", "items": bodies}, output)


def without_managed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without its managed fields, which kubectl hides too."""
    metadata = body.get("metadata")
    shown = {key: value for key, value in metadata.items() if key != "managedFields"} if metadata else {}
    return {**body, "metadata": shown}


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], styles: Mapping[str, str] | None = None) -> None:
    """Print a table in columns without lines, as kubectl does; a value is cleaned, and a text may be styled.

    Args:
        heads: heads of the columns.
        rows: values, in the order of the heads.
        styles: text of a cell -> its style on a terminal.
    """
    cleaned = [[clean(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo("\n".join(plain_lines([list(heads), *cleaned])))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number < len(heads) - 1, overflow="ellipsis" if number else "fold")
    for row in cleaned:
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    console.out().print(table)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns, three spaces apart, as kubectl prints them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


PHASE_STYLES: Mapping[str, str] = {
    "Serving": "green",
    "True": "green",
    "Degraded": "yellow",
    "Draining": "yellow",
    "Paused": "yellow",
    "Idle": "dim",
    "Failed": "bold red",
    "Invalid": "bold red",
    "Stalled": "bold red",
    "CrashLooping": "bold red",
    "Unknown": "red",
    "False": "red",
}
"""Phase of a server or a replica, or status of a condition -> its style."""
