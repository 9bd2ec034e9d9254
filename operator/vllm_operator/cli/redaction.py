"""Remove secrets from objects and texts before they leave the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.diagnosis.log_text import strip_controls
from vllm_operator.diagnosis.secrets import MASK, mask_secrets

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation with a copy of the whole object as one text."""

LONGEST_TEXT = 64 * 1024
"""Characters of one value that are kept: the message of a condition has at most 32,768."""

DEEPEST = 64
"""Levels of an object that are kept. The operator refuses a spec with more."""

_CUT = "[cut]"


def without_secrets(body: Any, depth: int = 0) -> Any:
    """Return a value of an object without secrets, managed fields, and the copy of `kubectl apply`.

    The value of an environment variable is masked by the variable's name, and the argument after a flag such as
    `--api-key` by the flag. Every other text is masked by its shape.
    """
    if depth > DEEPEST:
        return _CUT
    if isinstance(body, Mapping):
        return _map(body, depth)
    if isinstance(body, list):
        return _list(body, depth)
    return _text(body) if isinstance(body, str) else body


def _map(body: Mapping[str, Any], depth: int) -> dict[str, Any]:
    result = {
        _text(str(key)): _named(str(key), value, depth)
        for key, value in body.items()
        if key not in {"managedFields", LAST_APPLIED}
    }
    if isinstance(body.get("name"), str) and isinstance(body.get("value"), str):
        result["value"] = _value_of(body["name"], body["value"])
    return result


def _named(name: str, value: Any, depth: int) -> Any:
    return _value_of(name, value) if isinstance(value, str) else without_secrets(value, depth + 1)


def _value_of(name: str, value: str) -> str:
    """Return a value, or a mask if its name is that of a secret."""
    head = f"{name}="
    masked = mask_secrets(head + value)
    return MASK if masked != head + value and masked.removeprefix(head).startswith(MASK) else _text(value)


def _list(body: list[Any], depth: int) -> list[Any]:
    result: list[Any] = []
    for item in body:
        before = body[len(result) - 1] if result else None
        if isinstance(item, str) and isinstance(before, str) and before.startswith("-") and not item.startswith("-"):
            pair = f"{before} {item}"
            result.append(MASK if mask_secrets(pair) != pair and mask_secrets(item) == item else _text(item))
        else:
            result.append(without_secrets(item, depth + 1))
    return result


def _text(text: str) -> str:
    return mask_secrets(strip_controls(text[:LONGEST_TEXT])) + (_CUT if len(text) > LONGEST_TEXT else "")
