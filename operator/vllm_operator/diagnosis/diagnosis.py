"""The result of every diagnosis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """Why a container ended, as its own log tells.

    Attributes:
        reason: CamelCase; empty when nobody knows the cause by name.
        message: the cause and the way out in one line, without secrets; empty when the log tells nothing.
    """

    reason: str
    message: str
