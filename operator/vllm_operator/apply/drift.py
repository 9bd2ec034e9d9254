"""Does a live object still say what was applied? Pure comparison, under the API server's own rules.

The API server adds defaults and drops what is empty, so a manifest is compared as a part of the live object. What
someone else added to the spec shows in the object's field managers.
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
"""Plain types come first: a test for an abstract one costs ten times as much."""

QUANTITY_MAPS = frozenset({"limits", "requests", "overhead"})
QUANTITY_FIELDS = frozenset({"sizeLimit", "averageValue", "divisor", "tolerance"})

THREE_VALUED = frozenset(
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
"""Fields of a pod that the API server keeps when they are false or 0, since none at all means something else."""

MERGE_KEYS: dict[str, tuple[str, ...]] = {
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
"""Lists that merge item by item, whose order is the API server's; all others are compared in order."""


def differs(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """True when something in `manifest` is missing or different in `live`."""
    return not all(
        holds(value, live.get(key), key) for key, value in manifest.items() if key not in {"apiVersion", "kind"}
    )


def holds(wanted: Any, live: Any, key: str) -> bool:
    """Whether `live`, found under `key`, says what is wanted there."""
    if not isinstance(wanted, SCALARS):
        # Python takes true for 1, but no schema lets one stand in the place of the other.
        if wanted == live:
            return True
        if isinstance(wanted, MAPS):
            return _holds_map(wanted, live, key)
        if isinstance(wanted, LISTS):
            return _holds_list(wanted, live, key)
    if key in QUANTITY_FIELDS:
        return _same_quantity(wanted, live)
    if live is None and key in THREE_VALUED:
        return wanted is None
    return _same(wanted, live)


def _holds_map(wanted: Mapping[str, Any], live: Any, key: str) -> bool:
    if not isinstance(live, MAPS):
        return live is None and is_empty(wanted)
    if key in QUANTITY_MAPS:
        return all(_same_amount(value, live.get(name)) for name, value in wanted.items())
    return all(holds(value, live.get(name), name) for name, value in wanted.items())


def _holds_list(wanted: Sequence[Any], live: Any, key: str) -> bool:
    if not isinstance(live, list):
        return not wanted and live is None
    keys = MERGE_KEYS.get(key)
    if keys is None or not all(isinstance(item, MAPS) for item in [*wanted, *live]):
        return len(wanted) == len(live) and all(holds(a, b, key) for a, b in zip(wanted, live, strict=True))
    # Several items may be nameless, such as ports: each must be found in one of its equals.
    by_identity = defaultdict(list)
    for item in live:
        by_identity[tuple(item.get(name) for name in keys)].append(item)
    return all(
        any(holds(item, other, key) for other in by_identity[tuple(item.get(name) for name in keys)]) for item in wanted
    )


def _same_quantity(wanted: Any, live: Any) -> bool:
    first, second = parse_quantity(wanted), parse_quantity(live)
    return first == second if first is not None and second is not None else _same(wanted, live)


def _same_amount(wanted: Any, live: Any) -> bool:
    """The same quantity of a resource, of which the API server rounds up the part beyond a thousandth."""
    if _same_quantity(wanted, live):
        return True
    first, second = parse_quantity(wanted), parse_quantity(live)
    return first is not None and second is not None and (first * 1000).to_integral_value(ROUND_CEILING) == second * 1000


def _same(wanted: Any, live: Any) -> bool:
    if live is None:
        return is_empty(wanted)
    return bool(wanted == live) and isinstance(wanted, bool) == isinstance(live, bool)


def is_empty(value: Any) -> bool:
    """What the API server leaves out when it stores an object."""
    if isinstance(value, Mapping):
        return all(is_empty(item) for item in value.values())
    return value is None or value is False or value in ("", 0) or value == []
