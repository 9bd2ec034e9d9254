"""Check the metadata of a manifest as the API server does (`apimachinery/pkg/api/validation`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vllm_operator.api.fields import QUALIFIED
from vllm_operator.offline.refusal import Refusal, refusal

FIELDS = frozenset(
    {
        "name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "uid",
        "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
        "managedFields", "selfLink",
    }
)  # fmt: skip
ANNOTATION_BYTES = 256 * 1024
"""Bytes that all annotations of an object may have together."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(_LABEL)
_KEY = re.compile(QUALIFIED)
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def metadata_refusals(metadata: Any) -> Iterator[Refusal]:
    """Refuse metadata that no object may have."""
    if not isinstance(metadata, Mapping):
        yield refusal(("metadata",), "FieldValueRequired", "must be a map with a name: add it")
        return
    for name in metadata:
        if name not in FIELDS:
            yield refusal(("metadata", name), "UnknownField", "unknown field: remove it")
    yield from _name_refusals(metadata)
    for field in ("labels", "annotations"):
        yield from _map_refusals(field, metadata.get(field))


def _name_refusals(metadata: Mapping[str, Any]) -> Iterator[Refusal]:
    name = metadata.get("name") or metadata.get("generateName")
    if not name:
        yield refusal(("metadata", "name"), "FieldValueRequired", "is required: add it")
    elif not isinstance(name, str) or len(name) > 253 or not (_NAME.fullmatch(name.rstrip("-") or "-")):
        yield refusal(
            ("metadata", "name"),
            "FieldValueInvalid",
            "must hold only a-z, 0-9, '-' and '.', and start and end with a letter or digit: rename it",
        )
    namespace = metadata.get("namespace")
    if namespace and not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
        yield refusal(("metadata", "namespace"), "FieldValueInvalid", "is no name of a namespace: correct it")


def _map_refusals(field: str, entries: Any) -> Iterator[Refusal]:
    if entries is None:
        return
    if not isinstance(entries, Mapping) or not all(isinstance(value, str) for value in entries.values()):
        yield refusal(("metadata", field), "FieldValueTypeInvalid", "must be a map of strings: quote the values")
        return
    for key, value in entries.items():
        yield from _entry_refusals(field, key, value)
    size = sum(len(key.encode()) + len(value.encode(errors="replace")) for key, value in entries.items())
    if size > ANNOTATION_BYTES:
        yield refusal(("metadata", field), "FieldValueTooLong", f"has more than {ANNOTATION_BYTES} bytes: shorten it")


def _entry_refusals(field: str, key: str, value: str) -> Iterator[Refusal]:
    checked = key.lower() if field == "annotations" else key
    if not _KEY.fullmatch(checked) or len(key.rpartition("/")[0]) > 253:
        yield refusal(("metadata", field, key), "FieldValueInvalid", "the key is not valid: rename it")
    if field == "labels" and (len(value) > 63 or not _VALUE.fullmatch(value)):
        yield refusal(
            ("metadata", field, key),
            "FieldValueInvalid",
            "a label has at most 63 letters, digits, '-', '_' and '.': shorten or correct it",
        )
