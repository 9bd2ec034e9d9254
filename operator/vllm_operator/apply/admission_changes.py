"""Find the fields that admission policies, webhooks or the API server itself changed in an applied manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import LABEL_MANAGED_BY
from vllm_operator.apply.drift import ITEM_KEYS, QUANTITY_MAPS, is_empty, matches
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.kube.manifest import Manifest

WATCHED_LABEL = f"metadata.labels[{LABEL_MANAGED_BY}]"
"""The label that the watches select: they do not report the changes of an object without it."""
REPLICAS = "spec.replicas"
MAX_FIELDS = 5
"""Fields that a message names for one child."""


@dataclass(frozen=True)
class AdmissionChanges:
    """The changes that admission made to the children of a server.

    Attributes:
        notes: messages for the user, one a child.
        unlabelled: a child lost the label that the watches select.
        replicas_overridden: the Deployment has another number of replicas than its manifest.
    """

    notes: tuple[str, ...] = ()
    unlabelled: bool = False
    replicas_overridden: bool = False


def summarize_admission_changes(children: Iterable[tuple[Manifest, tuple[str, ...]]]) -> AdmissionChanges:
    """Return the admission changes of a server from its children and the paths of their changed fields."""
    changed = [(manifest, fields) for manifest, fields in children if fields]
    return AdmissionChanges(
        notes=tuple(_note(manifest, fields) for manifest, fields in changed),
        unlabelled=any(WATCHED_LABEL in fields for _, fields in changed),
        replicas_overridden=any(
            manifest.kind == DEPLOYMENT.name and REPLICAS in fields for manifest, fields in changed
        ),
    )


def fields_changed_by_admission(manifest: Mapping[str, Any], response: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the fields that differ, such as `spec.template.spec.containers[vllm].image`.

    Empty fields of the manifest do not count: the API server fills them in.
    """
    return tuple(
        path for name in ("metadata", "spec") for path in _changed(manifest.get(name), response.get(name), name, name)
    )


def _note(manifest: Manifest, fields: tuple[str, ...]) -> str:
    more = f" and {len(fields) - MAX_FIELDS} more" if len(fields) > MAX_FIELDS else ""
    # The API server itself drops fields of features that are switched off.
    source = "an admission policy, a webhook or the API server"
    message = f"{source} changes {manifest.kind} {manifest.name}: {', '.join(fields[:MAX_FIELDS])}{more}"
    if WATCHED_LABEL not in fields:
        return message
    remedy = "exempt the label from the policy"
    return f"{message}; without that label the operator sees further changes only every 30 s: {remedy}"


def _changed(wanted: Any, stored: Any, path: str, key: str) -> Iterator[str]:
    """Yield the paths at and below `path`, whose last element is `key`, where the stored value differs."""
    if matches(wanted, stored, key):
        return
    if key == "labels" and stored is None:
        stored = {}
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping) and key not in QUANTITY_MAPS:
        for name, value in wanted.items():
            yield from _changed(value, stored.get(name), _child_path(path, name), name)
    elif isinstance(wanted, list) and isinstance(stored, list) and ITEM_KEYS.get(key) == ("name",):
        yield from _changed_items(wanted, stored, path, key)
    elif not is_empty(wanted):
        yield path


def _changed_items(wanted: Sequence[Any], stored: Sequence[Any], path: str, key: str) -> Iterator[str]:
    """Yield the paths of the changes in the items of a list, which their names identify."""
    by_name = {item.get("name"): item for item in stored}
    for item in wanted:
        yield from _changed(item, by_name.get(item.get("name")), f"{path}[{item.get('name')}]", key)


def _child_path(path: str, name: str) -> str:
    return f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}"
