"""Kubernetes' strategic merge for pod templates (apimachinery `pkg/util/strategicpatch`)."""

from __future__ import annotations

import copy
from typing import Any

from vllm_operator.errors import InvalidSpecError

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}
"""Lists of a pod that merge by item -> the key of an item; all other lists are replaced as a whole."""

_PROBE = frozenset({"exec", "httpGet", "tcpSocket", "grpc"})
_HOOK = frozenset({"exec", "httpGet", "tcpSocket", "sleep"})
UNIONS = {
    "startupProbe": _PROBE,
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "preStop": _HOOK,
    "postStart": _HOOK,
    "env": frozenset({"value", "valueFrom"}),
}
"""Objects, or lists of objects, with fields of which Kubernetes allows one -> these fields. A patch that sets one
replaces the other. In a volume these are all fields but its name (`retainKeys` in Kubernetes)."""

DIRECTIVE = "$patch"


def strategic_merge(base: dict[str, Any], patch: dict[str, Any], path: str) -> dict[str, Any]:
    """Return `base` with `patch` merged; null removes a key, `$patch: delete|replace` removes or replaces an object.

    Raises:
        InvalidSpecError: an unknown directive, or a list item without its merge key; `path` names it.
    """
    if patch.get(DIRECTIVE) == "replace":
        return copy.deepcopy({key: value for key, value in patch.items() if key != DIRECTIVE})
    result = dict(base)
    for key, value in patch.items():
        where = f"{path}.{key}"
        if key.startswith("$") and not (key == DIRECTIVE and value == "merge"):
            raise InvalidSpecError(where, "unknown directive: use $patch: replace, delete or merge")
        if key == DIRECTIVE:
            continue
        if value is None or value == {DIRECTIVE: "delete"}:
            result.pop(key, None)
        else:
            result[key] = _merged_value(key, result.get(key), value, where)
    return result


def _merged_value(key: str, base: Any, value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return strategic_merge(_without_replaced(key, base if isinstance(base, dict) else {}, value), value, where)
    if isinstance(value, list) and isinstance(base, list) and key in MERGE_KEYS:
        return _merged_list(base, value, key, where)
    return copy.deepcopy(value)


def _without_replaced(key: str, base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return `base` without the members of its union that a patch replaces by another one.

    Args:
        key: field that holds the object, or the list with it.
        base: the object before the patch.
        patch: its patch.
    """
    members = {*base, *patch} - {"name", DIRECTIVE} if key == "volumes" else UNIONS.get(key, frozenset())
    chosen = {name for name in members if patch.get(name) is not None and patch[name] != {DIRECTIVE: "delete"}}
    if not chosen:
        return base
    return {name: value for name, value in base.items() if name not in members or name in chosen}


def _merged_list(base: list[Any], patch: list[Any], key: str, where: str) -> list[Any]:
    merge_key = MERGE_KEYS[key]
    items = [item for item in patch if item != {DIRECTIVE: "replace"}]
    merged = {} if len(items) < len(patch) else {item[merge_key]: item for item in base}
    for position, item in enumerate(items):
        here = f"{where}[{position}]"
        if not isinstance(item, dict) or not isinstance(item.get(merge_key), str | int):
            raise InvalidSpecError(here, f"an item of this list needs {merge_key}: add it")
        identity = item[merge_key]
        if item.get(DIRECTIVE) == "delete":
            merged.pop(identity, None)
        else:
            before = _without_replaced(key, merged.get(identity, {}), item)
            merged[identity] = strategic_merge(before, item, here)
    return list(merged.values())
