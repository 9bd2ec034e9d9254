"""The reason why a VLLMServer is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One reason why a VLLMServer is not accepted.

    Attributes:
        reason: CamelCase reason for the `Accepted` condition.
        message: the field, the cause, and what to do.
    """

    reason: str
    message: str
