"""Helpers that turn parts of the spec into plain values of a manifest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_operator.api.fields import Model


def dump_model(value: Model | Sequence[Model]) -> Any:
    """A model, or a list of them, under the manifest's own names and without what is unset."""
    if isinstance(value, Model):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [dump_model(item) for item in value]


def merge_patch(base: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    """`base` with `over` merged into it, key by key; a null in `over` removes the key (RFC 7386)."""
    result = copy.deepcopy(dict(base))
    for key, value in (over or {}).items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result
