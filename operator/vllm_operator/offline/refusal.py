"""One reason why a manifest is refused, and the path of a field in a message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Step = str | int


@dataclass(frozen=True)
class Refusal:
    """One reason why the API server or the operator refuses a manifest.

    Attributes:
        field: path of the field, such as `spec.cache.size`; empty when the manifest as a whole is at fault.
        reason: CamelCase reason: Kubernetes' own for the API server's, that of the condition `Accepted` for the
            operator's.
        message: the field, the cause, and what to do.
    """

    field: str
    reason: str
    message: str


def refusal(path: Sequence[Step], reason: str, text: str) -> Refusal:
    """Return the refusal of the field at `path`; `text` is the message without the field."""
    field = as_text(path)
    return Refusal(field, reason, f"{field}: {text}" if field else text)


def as_text(path: Sequence[Step]) -> str:
    """Return `spec.engine.env[0].name` for `("spec", "engine", "env", 0, "name")`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in path).removeprefix(".")
