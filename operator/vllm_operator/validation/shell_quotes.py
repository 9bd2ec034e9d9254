"""Arguments that were written for a shell: quotes that vLLM would read, and several arguments in one item."""

from __future__ import annotations

import shlex

LONGEST_SUGGESTION = 400
"""Characters of a suggested spelling; a longer one would fill the status, and is described instead."""


def without_quotes(value: str) -> str:
    """Return a value as a shell passes it on, when quotes enclose the whole; else the value."""
    stripped = value.strip()
    if len(stripped) < 2 or stripped[0] not in "'\"":
        return value
    words = shell_words(stripped)
    return words[0] if len(words) == 1 else value


def shell_words(text: str) -> list[str]:
    """Return the arguments that a shell reads in a text; the text, cut at spaces, where its quotes do not match."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def suggested_items(text: str) -> str:
    """Return how an item with a flag and values is written as items of a YAML list; empty where that is too long."""
    if len(text) > LONGEST_SUGGESTION:
        return ""
    flag, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    # JSON without quotes around it is not meant for a shell, which would take its inner quotes away.
    values = [rest] if rest.startswith(("{", "[")) else shell_words(rest)
    items = [f"{flag}={values[0]}"] if len(values) == 1 and not values[0].startswith("--") else [flag, *values]
    written = ", ".join(map(yaml_quoted, items))
    return written if len(written) <= LONGEST_SUGGESTION else ""


def yaml_quoted(text: str) -> str:
    """Return a text as a quoted YAML scalar, single-quoted where it holds double quotes."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'
