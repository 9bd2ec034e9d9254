"""Why a manifest is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Why the manifest is not accepted: a CamelCase reason, and a message that names the field and the way out."""

    reason: str
    message: str
