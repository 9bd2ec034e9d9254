"""Convert parts of the spec into plain values of a manifest."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_operator.api.fields import Model


def dump_model(value: Model | Sequence[Model]) -> Any:
    """Return a model, or a list of models, as plain values under their YAML names and without unset fields."""
    if isinstance(value, Model):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [dump_model(item) for item in value]


def merge_patch(base: Mapping[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `base` with the JSON merge patch `patch` applied; a null in it removes the key (RFC 7386)."""
    result = copy.deepcopy(dict(base))
    for key, value in (patch or {}).items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            current = result.get(key)
            result[key] = merge_patch(current if isinstance(current, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result
