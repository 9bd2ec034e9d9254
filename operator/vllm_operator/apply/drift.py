"""Compare live objects with their manifests, under the rules of the API server.

The API server adds defaults and drops empty fields, so `differs` checks only fields of the manifest.
`kube/managed_fields.py` finds fields that another writer added. `apply/child_applier.py` uses both to judge drift.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING
from typing import Any

from vllm_operator.kube.quantity import parse_quantity

SCALARS = (str, int, float, type(None))
MAPS = (dict, Mapping)
LISTS = (list, Sequence)
"""Types for `isinstance`. Plain types come first: a test for an abstract one costs ten times as much."""

QUANTITY_MAPS = frozenset({"limits", "requests", "overhead"})
QUANTITY_FIELDS = frozenset({"sizeLimit", "averageValue", "divisor", "tolerance"})

TRISTATE_FIELDS = frozenset(
    {
        "automountServiceAccountToken",
        "enableServiceLinks",
        "hostUsers",
        "shareProcessNamespace",
        "setHostnameAsFQDN",
        "allowPrivilegeEscalation",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
        "runAsUser",
        "runAsGroup",
        "fsGroup",
        "optional",
    }
)
"""Fields of a pod that the API server keeps when they are false or 0, because an absent field means something else."""

ITEM_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
"""Lists whose order the API server decides, with the fields that identify an item; all others are compared in order.

These are the map keys of server-side apply (`x-kubernetes-list-map-keys`), except for container ports, which a manifest
names. The merge keys of a strategic merge patch (`x-kubernetes-patch-merge-key`) differ.
"""


def differs(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Return whether a field of the manifest is missing or different in the live object."""
    return not all(
        matches(value, live.get(key), key) for key, value in manifest.items() if key not in {"apiVersion", "kind"}
    )


def matches(wanted: Any, live: Any, key: str) -> bool:
    """Return whether the live value of the field `key` holds the wanted one."""
    if not isinstance(wanted, SCALARS):
        # For Python, True equals 1, but no schema allows both in one field.
        if wanted == live:
            return True
        if isinstance(wanted, MAPS):
            return _map_matches(wanted, live, key)
        if isinstance(wanted, LISTS):
            return _list_matches(wanted, live, key)
    if key in QUANTITY_FIELDS:
        return _is_same_quantity(wanted, live)
    if live is None and key in TRISTATE_FIELDS:
        return wanted is None
    return _is_same(wanted, live)


def _map_matches(wanted: Mapping[str, Any], live: Any, key: str) -> bool:
    if not isinstance(live, MAPS):
        return live is None and is_empty(wanted)
    if key in QUANTITY_MAPS:
        return all(_is_same_amount(value, live.get(name)) for name, value in wanted.items())
    return all(matches(value, live.get(name), name) for name, value in wanted.items())


def _list_matches(wanted: Sequence[Any], live: Any, key: str) -> bool:
    if not isinstance(live, list):
        return not wanted and live is None
    keys = ITEM_KEYS.get(key)
    if keys is None or not all(isinstance(item, MAPS) for item in [*wanted, *live]):
        return len(wanted) == len(live) and all(matches(a, b, key) for a, b in zip(wanted, live, strict=True))
    return _items_match(wanted, live, key, keys)


def _items_match(wanted: Sequence[Any], live: Sequence[Any], key: str, keys: tuple[str, ...]) -> bool:
    """Return whether each wanted item matches a live one with the same identity: several may be nameless, as ports."""
    by_identity = defaultdict(list)
    for item in live:
        by_identity[_identity(item, keys)].append(item)
    return all(any(matches(item, other, key) for other in by_identity[_identity(item, keys)]) for item in wanted)


def _identity(item: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(item.get(name) for name in keys)


def _is_same_quantity(wanted: Any, live: Any) -> bool:
    first, second = parse_quantity(wanted), parse_quantity(live)
    return first == second if first is not None and second is not None else _is_same(wanted, live)


def _is_same_amount(wanted: Any, live: Any) -> bool:
    """Return whether two amounts of a resource are the same once the API server has rounded them up to a thousandth."""
    if _is_same_quantity(wanted, live):
        return True
    first, second = parse_quantity(wanted), parse_quantity(live)
    return first is not None and second is not None and (first * 1000).to_integral_value(ROUND_CEILING) == second * 1000


def _is_same(wanted: Any, live: Any) -> bool:
    if live is None:
        return is_empty(wanted)
    return bool(wanted == live) and isinstance(wanted, bool) == isinstance(live, bool)


def is_empty(value: Any) -> bool:
    """Return whether the API server leaves the value out when it stores an object."""
    if isinstance(value, Mapping):
        return all(is_empty(item) for item in value.values())
    return value is None or value is False or value in ("", 0) or value == []
