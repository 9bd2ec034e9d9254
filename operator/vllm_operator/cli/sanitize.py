"""Make text of tenants safe for a terminal: names, messages and logs come from whoever may write to the cluster."""

from __future__ import annotations

import re
import unicodedata

LONGEST_CELL = 1000
"""Characters of one value in a table. A condition's message may have 32,768 (Kubernetes' metav1.Condition)."""

_ESCAPES = re.compile(
    # CSI, then the strings of OSC, DCS, SOS, PM and APC with their end, then two-character escapes (ECMA-48).
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]?"
)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode categories that a terminal interprets or hides: controls, bidirectional overrides, surrogates, private use,
separators of lines and paragraphs."""


def clean(value: object, limit: int = LONGEST_CELL) -> str:
    """Return a value as one line that moves no cursor and changes no colour.

    Args:
        value: text of others, or anything that stands in its place in an object.
        limit: longest result in characters; a longer text ends with `…`.
    """
    text = value if isinstance(value, str) else "" if value is None else str(value)
    text = " ".join(_without_controls(text[: limit * 4]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_lines(text: str, limit: int) -> str:
    """Return a text with its line ends and tabs, without all other controls; only the last `limit` characters."""
    return _without_controls(text[-limit:].replace("\r\n", "\n").replace("\r", "\n"), keep="\n\t")


def _without_controls(text: str, keep: str = "") -> str:
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text)
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _HIDDEN
        else " "
        if character in "\n\t\r\v\f\x85\u2028\u2029"
        else ""
        for character in text
    )
