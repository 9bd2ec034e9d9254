"""The result of the check behind a condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Status, CamelCase reason, and a message that names the remedy."""

    status: ConditionStatus
    reason: str
    message: str

    @property
    def is_true(self) -> bool:
        """The status is `True`."""
        return self.status == "True"
