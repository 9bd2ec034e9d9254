"""Does one apply by force undo an edit? Pure reading of managed fields, beside the manifest and the live object.

Server-side apply by force takes a field from another manager where the manifest holds it with another value. What
the manifest lacks stays in the object; and a field of the same value has two owners afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.api.names import MANAGER

KEY_DEFAULTS = {"protocol": "TCP"}
"""What the API server fills into the keys of an item, such as a port's."""


def forced_apply_suffices(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """True when applying `manifest` by force leaves nobody else an own part of the spec of `live`.

    The mark of `kubectl rollout restart` stays with whoever set it. When in doubt, False: the fields are then made
    the operator's own before the apply.
    """
    spec, found = manifest.get("spec"), live.get("spec")
    return all(_are_taken(entry["fieldsV1"]["f:spec"], spec, found) for entry in foreign_entries(live))


def _are_taken(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Whether all of a field set is taken; `.` stands for the map or the item itself, which force does not take."""
    ignored = {RESTART_FIELD, "."} if RESTART_FIELD in fields else set()
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


OWNERSHIP_TRANSFER_MANAGER = "vllm-operator-handover"
"""Keeps `spec.replicas` for a moment when an autoscaler takes over: a field without owner falls back to 1."""

TRUSTED_MANAGERS = frozenset({MANAGER, OWNERSHIP_TRANSFER_MANAGER, "kube-controller-manager", "kube-scheduler"})
"""Field managers that may own a part of a child's spec: a claim's volume is written by its controller."""

SCALED_BY = "scaledBy"
"""Where the caches keep, in an object's metadata, who has set its replicas."""

AUTOSCALER_MANAGER = "kube-controller-manager"
"""Who scales for a HorizontalPodAutoscaler."""

RESTART_FIELD = "f:kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` writes: no drift."""

KEPT_FIELDS = frozenset({RESTART_FIELD, "f:volumeName"})
"""Edits of a child that stay. Whoever restores a claim writes its volume, and Kubernetes lets nobody remove it."""


def foreign_entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Entries of `metadata.managedFields` by which someone else owns a part of the spec."""
    entries = body.get("metadata", {}).get("managedFields") or ()
    return [entry for entry in entries if _is_foreign(entry)]


def scale_managers(body: Mapping[str, Any]) -> list[str]:
    """Managers that set the number of replicas as autoscalers and `kubectl scale` do; a repair takes it from them."""
    entries = body.get("metadata", {}).get("managedFields") or ()
    return [entry["manager"] for entry in entries if entry.get("subresource") == "scale"]


def _is_foreign(entry: Mapping[str, Any]) -> bool:
    if entry.get("manager") in TRUSTED_MANAGERS or entry.get("subresource"):
        return False
    spec = (entry.get("fieldsV1") or {}).get("f:spec")
    if not spec:
        return False
    leaves = _leaves(spec)
    return not leaves or not leaves <= KEPT_FIELDS


def _leaves(fields: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for name, below in fields.items():
        if name != ".":
            found |= _leaves(below) if below and set(below) != {"."} else {name}
    return found


def adopted_managed_fields(body: Mapping[str, Any]) -> list[dict[str, Any]]:
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


_RESTART_PATH = ("f:spec", "f:template", "f:metadata", "f:annotations", RESTART_FIELD)


def _without_left(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that stay, and without what held nothing else."""
    kept = {name: _without_left(below) for name, below in fields.items() if name not in KEPT_FIELDS}
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


def operator_owns_replicas(body: Mapping[str, Any]) -> bool:
    """True while the operator itself owns the number of replicas."""
    entries = body["metadata"].get("managedFields") or ()
    own = [entry for entry in entries if entry.get("manager") == MANAGER and not entry.get("subresource")]
    return any("f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}) for entry in own)
