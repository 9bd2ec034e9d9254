"""Does a live object still say what was applied? Pure comparison, under the API server's own rules.

The API server adds defaults and drops what is empty, so a manifest is compared as a part of the live object. What
someone else added to the spec shows in the object's field managers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING
from typing import Any

from vllm_operator.api.names import MANAGER
from vllm_operator.api.quantity import quantity

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

HANDOVER_MANAGER = "vllm-operator-handover"
"""Keeps `spec.replicas` for a moment when an autoscaler takes over: a field without owner falls back to 1."""

CONTROLLERS = frozenset({MANAGER, HANDOVER_MANAGER, "kube-controller-manager", "kube-scheduler"})
"""Field managers that may own a part of a child's spec: a claim's volume is written by its controller."""

SCALED_BY = "scaledBy"
"""Where the caches keep, in an object's metadata, who has set its replicas."""

AUTOSCALER = "kube-controller-manager"
"""Who scales for a HorizontalPodAutoscaler."""

RESTART = "f:kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` writes: no drift."""

LEFT = frozenset({RESTART, "f:volumeName"})
"""Edits of a child that stay. Whoever restores a claim writes its volume, and Kubernetes lets nobody remove it."""


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
    first, second = quantity(wanted), quantity(live)
    return first == second if first is not None and second is not None else _same(wanted, live)


def _same_amount(wanted: Any, live: Any) -> bool:
    """The same quantity of a resource, of which the API server rounds up the part beyond a thousandth."""
    if _same_quantity(wanted, live):
        return True
    first, second = quantity(wanted), quantity(live)
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


def foreign_entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Entries of `metadata.managedFields` by which someone else owns a part of the spec."""
    entries = body.get("metadata", {}).get("managedFields") or ()
    return [entry for entry in entries if _is_foreign(entry)]


def scalers(body: Mapping[str, Any]) -> list[str]:
    """Managers that set the number of replicas as autoscalers and `kubectl scale` do; a repair takes it from them."""
    entries = body.get("metadata", {}).get("managedFields") or ()
    return [entry["manager"] for entry in entries if entry.get("subresource") == "scale"]


def _is_foreign(entry: Mapping[str, Any]) -> bool:
    if entry.get("manager") in CONTROLLERS or entry.get("subresource"):
        return False
    spec = (entry.get("fieldsV1") or {}).get("f:spec")
    if not spec:
        return False
    leaves = _leaves(spec)
    return not leaves or not leaves <= LEFT


def _leaves(fields: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name, below in fields.items():
        if name != ".":
            found |= _leaves(below) if below and set(below) != {"."} else {name}
    return found


def adopted_fields(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`metadata.managedFields` with everything foreign made the operator's own.

    Applying the manifest then removes what it does not hold, as the API server does with any field that its
    owner no longer applies. The mark of `kubectl rollout restart` stays with whoever set it: kubectl keeps one entry
    for all its rollout commands, and to remove the mark would restart the pods again. The volume of a claim becomes
    nobody's.
    """
    entries = list(body["metadata"].get("managedFields") or ())
    foreign = foreign_entries(body)
    if not foreign:
        return entries
    own = next((entry for entry in entries if _is_own(entry)), None)
    fields: dict[str, Any] = dict((own or {}).get("fieldsV1") or {})
    for entry in foreign:
        fields = _union(fields, {"f:spec": _without_left(entry["fieldsV1"]["f:spec"])})
    adopted = {**(own or foreign[0]), "manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
    rest = [dict(entry) for entry in entries if entry not in foreign and entry is not own]
    return rest + [_restart_only(entry) for entry in foreign if _restarts(entry)] + [adopted]


_RESTART_PATH = ("f:spec", "f:template", "f:metadata", "f:annotations", RESTART)


def _without_left(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that stay, and without what held nothing else."""
    kept = {name: _without_left(below) for name, below in fields.items() if name not in LEFT}
    return {name: below for name, below in kept.items() if below or not fields[name]}


def _restarts(entry: Mapping[str, Any]) -> bool:
    found: Any = entry["fieldsV1"]
    for name in _RESTART_PATH:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is not None


def _restart_only(entry: Mapping[str, Any]) -> dict[str, Any]:
    """`entry` reduced to the mark of a restart."""
    fields: dict[str, Any] = {}
    for name in reversed(_RESTART_PATH):
        fields = {name: fields}
    return {**entry, "fieldsV1": fields}


def _is_own(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


def _union(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _union(first.get(name, {}), second.get(name, {})) for name in dict.fromkeys([*first, *second])}


def owns_replicas(body: Mapping[str, Any]) -> bool:
    """True while the operator itself owns the number of replicas."""
    entries = body["metadata"].get("managedFields") or ()
    own = [entry for entry in entries if entry.get("manager") == MANAGER and not entry.get("subresource")]
    return any("f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}) for entry in own)
