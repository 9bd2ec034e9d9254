"""What admission policies and webhooks make of a manifest: the fields that the API server stores otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import LABEL_MANAGED_BY
from vllm_operator.apply.drift import MERGE_KEYS, QUANTITY_MAPS, holds, is_empty
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.kube.manifest import Manifest

FOUND_BY = f"metadata.labels[{LABEL_MANAGED_BY}]"
"""The label that the watches select: without it nothing tells of a change."""
REPLICAS = "spec.replicas"
TOLD = 5
"""Fields that are named for one child."""


@dataclass(frozen=True)
class AdmissionChanges:
    """What became of the children of a server on their way in.

    Attributes:
        notes: what the user is told.
        unlabelled: whether a child lost the label by which its changes are seen.
        replicas_overridden: whether the Deployment has another number of replicas than was asked for.
    """

    notes: tuple[str, ...] = ()
    unlabelled: bool = False
    replicas_overridden: bool = False


def summarize_admission_changes(children: Iterable[tuple[Manifest, tuple[str, ...]]]) -> AdmissionChanges:
    """Sum up children and those of their fields that are stored otherwise."""
    found = [(manifest, fields) for manifest, fields in children if fields]
    return AdmissionChanges(
        notes=tuple(_note(manifest, fields) for manifest, fields in found),
        unlabelled=any(FOUND_BY in fields for _, fields in found),
        replicas_overridden=any(manifest.kind == DEPLOYMENT.name and REPLICAS in fields for manifest, fields in found),
    )


def fields_changed_by_admission(manifest: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of what `answer` holds otherwise than `manifest`, such as `spec.template.spec.containers[vllm].image`.

    What the manifest leaves empty is none: the API server fills it in.
    """
    return tuple(
        path for name in ("metadata", "spec") for path in _altered(manifest.get(name), answer.get(name), name, name)
    )


def _note(manifest: Manifest, fields: tuple[str, ...]) -> str:
    more = f" and {len(fields) - TOLD} more" if len(fields) > TOLD else ""
    who = "an admission policy, a webhook or the API server"  # which itself drops what it has switched off
    words = f"{who} changes {manifest.kind} {manifest.name}: {', '.join(fields[:TOLD])}{more}"
    if FOUND_BY not in fields:
        return words
    return f"{words}; without that label its changes are seen every 30 s only: have the label left alone"


def _altered(wanted: Any, live: Any, path: str, key: str) -> Iterator[str]:
    if holds(wanted, live, key):
        return
    if key == "labels" and live is None:
        live = {}
    if isinstance(wanted, Mapping) and isinstance(live, Mapping) and key not in QUANTITY_MAPS:
        for name, value in wanted.items():
            yield from _altered(value, live.get(name), _below(path, name), name)
    elif isinstance(wanted, list) and isinstance(live, list) and MERGE_KEYS.get(key) == ("name",):
        theirs = {item.get("name"): item for item in live}
        for item in wanted:
            yield from _altered(item, theirs.get(item.get("name")), f"{path}[{item.get('name')}]", key)
    elif not is_empty(wanted):
        yield path


def _below(path: str, name: str) -> str:
    return f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}"
