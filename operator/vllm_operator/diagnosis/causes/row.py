"""The columns of the tables of causes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

HINT_LENGTH = 64
"""Longest name for which a near one is searched, in characters: the search takes quadratic time."""

_CHOICES = 200
"""Choices that are compared at most: vLLM lists about 60."""

MessageOf = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Cause:
    """One error that ends vLLM.

    Attributes:
        log: name of the recorded log that the row is tested with.
        reason: CamelCase, for the status.
        literals: lower-case texts of which the error has at least one. The log is searched for them first.
        pattern: regular expression over the text around a literal, without the prefixes of its lines. It begins with
            a literal or with a bounded word, and every repeat in it is bounded or excludes what follows it.
        message: the cause and its remedy; named groups of the pattern stand in braces.
        unless: lower-case text whose presence in the log shows another cause; empty without one.
    """

    log: str
    reason: str
    literals: tuple[str, ...]
    pattern: str
    message: str | MessageOf
    unless: str = ""


def nearest_choice(kind: str, field: str) -> MessageOf:
    """Return the message for a name that is none of the choices that vLLM lists: groups `name` and `choices`.

    Args:
        kind: noun for the thing that has the name, such as `tool call parser`.
        field: the spec field that sets it.
    """

    def message(found: re.Match[str]) -> str:
        names = re.findall(r"[\w.+-]{1,64}", found["choices"] or "")
        close = get_close_matches(found["name"][:HINT_LENGTH], names[:_CHOICES], n=1, cutoff=0.5)
        hint = (
            f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(names)[:8])} and more" if names else ""
        )
        return f"this vLLM has no {kind} {found['name']}: {hint or 'correct it'} ({field})"

    return message
