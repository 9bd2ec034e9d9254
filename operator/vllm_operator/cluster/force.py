"""Does one apply by force undo an edit? Pure reading of managed fields, beside the manifest and the live object.

Server-side apply by force takes a field from another manager where the manifest holds it with another value. What
the manifest lacks stays in the object; and a field of the same value has two owners afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.cluster.drift import RESTART, foreign_entries

KEY_DEFAULTS = {"protocol": "TCP"}
"""What the API server fills into the keys of an item, such as a port's."""


def force_suffices(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """True when applying `manifest` by force leaves nobody else an own part of the spec of `live`.

    The mark of `kubectl rollout restart` stays with whoever set it. When in doubt, False: the fields are then made
    the operator's own before the apply.
    """
    spec, found = manifest.get("spec"), live.get("spec")
    return all(_are_taken(entry["fieldsV1"]["f:spec"], spec, found) for entry in foreign_entries(live))


def _are_taken(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Whether all of a field set is taken; `.` stands for the map or the item itself, which force does not take."""
    ignored = {RESTART, "."} if RESTART in fields else set()
    return all(_is_taken(name, below, wanted, live) for name, below in fields.items() if name not in ignored)


def _is_taken(name: str, below: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    ours, theirs = _inside(wanted, name), _inside(live, name)
    if below:
        return _are_taken(below, ours, theirs)
    return ours is not None and theirs is not None and bool(ours != theirs)


def _inside(value: Any, name: str) -> Any:
    """What a path element of managed fields leads to: `f:NAME` in a map, `k:{...}` in a list; else None.

    A member of a set (`v:...`) has no value that could differ.
    """
    kind, _, rest = name.partition(":")
    if kind == "f" and isinstance(value, Mapping):
        return value.get(rest)
    if kind == "k" and isinstance(value, list | tuple):
        return next((item for item in value if _has_keys(item, json.loads(rest))), None)
    return None


def _has_keys(item: Any, keys: Mapping[str, Any]) -> bool:
    return isinstance(item, Mapping) and all(
        item.get(key, KEY_DEFAULTS.get(key)) == value for key, value in keys.items()
    )
