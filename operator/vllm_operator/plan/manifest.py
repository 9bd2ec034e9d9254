"""A child as it is to be applied: what `render` makes and `cluster` writes; neither knows the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Manifest:
    """A rendered child: its kind, name and hash, and the object to apply."""

    kind: str
    name: str
    hash: str
    body: dict[str, Any]
