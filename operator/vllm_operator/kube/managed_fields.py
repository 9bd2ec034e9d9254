"""Read and rewrite managed fields. Pure functions of manifests and live objects.

A server-side apply by force takes a field from another manager when the manifest holds it with another value. A field
that the manifest lacks stays in the object, and a field of the same value has two owners afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.api.names import MANAGER

OWNERSHIP_TRANSFER_MANAGER = "vllm-operator-handover"
"""Field manager that keeps `spec.replicas` until an autoscaler sets it: a field without an owner falls back to 1."""

TRUSTED_MANAGERS = frozenset({MANAGER, OWNERSHIP_TRANSFER_MANAGER, "kube-controller-manager", "kube-scheduler"})
"""Field managers that may own fields of a child's spec: the volume of a claim is written by its controller."""

SCALED_BY = "scaledBy"
"""Key in the metadata of cached objects: the managers that set the number of replicas."""

AUTOSCALER_MANAGER = "kube-controller-manager"
"""Field manager of a HorizontalPodAutoscaler's changes."""

RESTART_FIELD = "f:kubectl.kubernetes.io/restartedAt"
"""The annotation of `kubectl rollout restart`, which is no drift."""

RESTART_PATH = ("f:spec", "f:template", "f:metadata", "f:annotations", RESTART_FIELD)
"""The path of that annotation in managed fields."""

KEPT_FIELDS = frozenset({RESTART_FIELD, "f:volumeName"})
"""Fields of other writers that stay. The volume of a claim is set when a backup is restored, and cannot be removed."""

KEY_DEFAULTS = {"protocol": "TCP"}
"""Defaults of the API server for the keys of an item, such as a port's."""


def foreign_entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of `metadata.managedFields` in which another writer owns fields of the spec."""
    return [entry for entry in _entries(body) if _is_foreign(entry)]


def scale_managers(body: Mapping[str, Any]) -> list[str]:
    """Return the managers that set the replicas by the scale subresource, as autoscalers and `kubectl scale` do.

    A repair makes the operator the owner of the field, so nothing else shows these managers afterwards.
    """
    return [entry["manager"] for entry in _entries(body) if entry.get("subresource") == "scale"]


def operator_owns_replicas(body: Mapping[str, Any]) -> bool:
    """Return whether the operator owns the number of replicas."""
    own = [entry for entry in _entries(body) if entry.get("manager") == MANAGER and not entry.get("subresource")]
    return any("f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {}) for entry in own)


def forced_apply_suffices(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Return whether an apply of the manifest by force takes all fields of the live spec from other writers.

    The annotation of `kubectl rollout restart` stays with its writer. In doubtful cases the result is False: the fields
    then become the operator's own before the apply.
    """
    spec, live_spec = manifest.get("spec"), live.get("spec")
    return all(_takes_all(entry["fieldsV1"]["f:spec"], spec, live_spec) for entry in foreign_entries(live))


def adopted_managed_fields(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `metadata.managedFields` in which the operator owns the fields of all other writers.

    A later apply of the manifest then removes those that the manifest lacks, as the API server does with any field that
    its owner no longer applies. The annotation of `kubectl rollout restart` stays with its writer: kubectl keeps one
    entry for all its rollout commands, and to remove the annotation would restart the pods again. The volume of a claim
    gets no owner.
    """
    entries = _entries(body)
    foreign = foreign_entries(body)
    if not foreign:
        return entries
    own = next((entry for entry in entries if _is_own(entry)), None)
    rest = [dict(entry) for entry in entries if entry not in foreign and entry is not own]
    return rest + [_restart_only(entry) for entry in foreign if _has_restart(entry)] + [_adopted(own, foreign)]


def _adopted(own: Mapping[str, Any] | None, foreign: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the operator's entry with the fields of foreign entries."""
    base = own or foreign[0]
    fields: dict[str, Any] = dict(own["fieldsV1"]) if own and own.get("fieldsV1") else {}
    for entry in foreign:
        fields = _union(fields, {"f:spec": _without_kept(entry["fieldsV1"]["f:spec"])})
    return {**base, "manager": MANAGER, "operation": "Apply", "fieldsV1": fields}


def _entries(body: Mapping[str, Any]) -> list[Any]:
    return list(body.get("metadata", {}).get("managedFields") or ())


def _is_own(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


def _is_foreign(entry: Mapping[str, Any]) -> bool:
    if entry.get("manager") in TRUSTED_MANAGERS or entry.get("subresource"):
        return False
    spec = (entry.get("fieldsV1") or {}).get("f:spec")
    if not spec:
        return False
    leaves = _leaves(spec)
    return not leaves or not leaves <= KEPT_FIELDS


def _leaves(fields: Mapping[str, Any]) -> set[str]:
    """Return the last path elements of a field set."""
    found: set[str] = set()
    for name, below in fields.items():
        if name != ".":
            found |= _leaves(below) if below and set(below) != {"."} else {name}
    return found


def _union(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of two field sets."""
    return {name: _union(first.get(name, {}), second.get(name, {})) for name in dict.fromkeys([*first, *second])}


def _without_kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field set without KEPT_FIELDS, and without parents that held nothing else."""
    rest = {name: _without_kept(below) for name, below in fields.items() if name not in KEPT_FIELDS}
    return {name: below for name, below in rest.items() if below or not fields[name]}


def _has_restart(entry: Mapping[str, Any]) -> bool:
    found: Any = entry["fieldsV1"]
    for name in RESTART_PATH:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found is not None


def _restart_only(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry reduced to the annotation of a restart."""
    fields: dict[str, Any] = {}
    for name in reversed(RESTART_PATH):
        fields = {name: fields}
    return {**entry, "fieldsV1": fields}


def _takes_all(fields: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Return whether an apply by force takes a whole field set.

    `.` stands for the map or the item itself, which it does not take.
    """
    ignored = {RESTART_FIELD, "."} if RESTART_FIELD in fields else set()
    return all(_takes(name, below, wanted, live) for name, below in fields.items() if name not in ignored)


def _takes(name: str, below: Mapping[str, Any], wanted: Any, live: Any) -> bool:
    """Return whether an apply by force takes the field of one path element, with all fields below it."""
    our_value, live_value = _value(wanted, name), _value(live, name)
    if below:
        return _takes_all(below, our_value, live_value)
    return our_value is not None and live_value is not None and bool(our_value != live_value)


def _value(value: Any, name: str) -> Any:
    """Return the value that a path element leads to: `f:NAME` in a map, `k:{...}` in a list; else None.

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
