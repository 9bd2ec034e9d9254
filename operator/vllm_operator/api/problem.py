"""The reason why a VLLMServer is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_MESSAGE_LENGTH = 2048
"""Characters of one message at most. A status shows 1,024 of all messages, and this cut lies behind what it reads."""

MAX_MESSAGES = 20
"""Messages of problems in a status at most; the number of the others follows."""


@dataclass(frozen=True)
class Problem:
    """One reason why a VLLMServer is not accepted.

    Attributes:
        reason: CamelCase reason for the `Accepted` condition.
        message: the field, the cause, and what to do; cut to MAX_MESSAGE_LENGTH, since it may quote any part of a spec.
    """

    reason: str
    message: str

    def __post_init__(self) -> None:
        if len(self.message) > MAX_MESSAGE_LENGTH:
            object.__setattr__(self, "message", self.message[: MAX_MESSAGE_LENGTH - 1] + "…")


def problem_messages(problems: Sequence[Problem]) -> list[str]:
    """Return the messages of the first problems, and the number of the others."""
    messages = [problem.message for problem in problems[:MAX_MESSAGES]]
    more = len(problems) - MAX_MESSAGES
    return [*messages, f"{more} further problems"] if more > 0 else messages
