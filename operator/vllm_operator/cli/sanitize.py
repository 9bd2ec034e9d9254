"""Make text of tenants safe for a terminal: names, messages and logs come from whoever may write to the cluster."""

from __future__ import annotations

from vllm_operator.diagnosis.log_text import strip_controls

LONGEST_CELL = 1000
"""Characters of one value in a table. A condition's message may have 32,768 (Kubernetes' metav1.Condition)."""

_OTHER_BLANKS = dict.fromkeys((0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F, 0x85, 0x2028, 0x2029), " ")
"""Controls that `strip_controls` leaves because they part words or lines, other than line end and tab."""


def clean(value: object, limit: int = LONGEST_CELL) -> str:
    """Return a value as one line that moves no cursor and changes no colour.

    Args:
        value: text of others, or anything that stands in its place in an object.
        limit: longest result in characters; a longer text ends with `…`.
    """
    text = value if isinstance(value, str) else "" if value is None else str(value)
    text = " ".join(strip_controls(text[: limit * 4]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_lines(text: str) -> str:
    """Return a text with its line ends and tabs, without all other controls; a progress bar becomes lines."""
    return strip_controls(text.replace("\r\n", "\n").replace("\r", "\n")).translate(_OTHER_BLANKS)
