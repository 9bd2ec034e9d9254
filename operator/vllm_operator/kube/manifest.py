"""Hold a rendered child, which `desired` renders and `apply` applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.kube.codec import parse_compressed


@dataclass(frozen=True, slots=True)
class Manifest:
    """A rendered child. It is kept as long as its server exists, so its object is compressed.

    Attributes:
        kind: kind of the child.
        name: its name.
        hash: hash of the object, which the child carries as an annotation.
        raw: the object to apply, from `compress_json`.
    """

    kind: str
    name: str
    hash: str
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """Return the object to apply, a new one at each call."""
        return parse_compressed(self.raw)
