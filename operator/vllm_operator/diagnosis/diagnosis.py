"""The result of every diagnosis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """The cause, or the stage of a start, that a log, a termination message or Events show.

    Attributes:
        reason: CamelCase; empty when no table has a row for the cause.
        message: the cause and its remedy in one line, without secrets; empty when the source shows none.
    """

    reason: str
    message: str


NO_DIAGNOSIS = Diagnosis("", "")
"""Result of a source that shows nothing, or that could not be read."""
