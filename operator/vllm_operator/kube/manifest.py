"""A child as it is to be applied: what `render` makes and `cluster` writes; neither knows the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.kube.codec import parse_compressed


@dataclass(frozen=True, slots=True)
class Manifest:
    """A rendered child: its kind, name and hash, and the object to apply as compressed JSON.

    Every server keeps its manifests for as long as it lives, so they are kept small.
    """

    kind: str
    name: str
    hash: str
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The object to apply; a new one at each call."""
        return parse_compressed(self.raw)
