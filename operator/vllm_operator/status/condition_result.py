"""What a condition says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """Status, CamelCase reason, and a message that names the way out."""

    status: ConditionStatus
    reason: str
    message: str

    @property
    def holds(self) -> bool:
        """True when the status is `True`."""
        return self.status == "True"
