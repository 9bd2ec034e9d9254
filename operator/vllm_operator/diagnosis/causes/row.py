"""The columns of the tables of causes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

MessageOf = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Cause:
    """One error that ends vLLM.

    Attributes:
        log: name of the recorded log that the row is tested with.
        reason: CamelCase, for the status.
        pattern: regular expression over the whole log without the prefixes of its lines.
        message: the cause and its remedy; named groups of the pattern stand in braces.
    """

    log: str
    reason: str
    pattern: str
    message: str | MessageOf


def nearest_choice(kind: str, field: str) -> MessageOf:
    """Return the message for a name that is none of the choices that vLLM lists: groups `name` and `choices`.

    Args:
        kind: noun for the thing that has the name, such as `tool call parser`.
        field: the spec field that sets it.
    """

    def message(found: re.Match[str]) -> str:
        names = re.findall(r"[\w.+-]+", found["choices"] or "")
        close = get_close_matches(found["name"], names, n=1, cutoff=0.5)
        hint = (
            f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(names)[:8])} and more" if names else ""
        )
        return f"this vLLM has no {kind} {found['name']}: {hint or 'correct it'} ({field})"

    return message
