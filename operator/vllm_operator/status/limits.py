"""Keep a status within what the API server accepts: replicas and Kubernetes decide some of its numbers and texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.status import MAX_REPLICA_STATUSES, MAX_STALLED_RESTARTS

INT64 = range(-(2**63), 2**63)
"""Integers that the API server can read. It refuses a whole status for one that is larger."""

MAX_TEXT_LENGTH = 32_768
"""Longest text of the CRD, in characters."""

MAX_ITEMS = {
    "servedModels": 64,
    "stalledRestarts": MAX_STALLED_RESTARTS,
    "replicaStatuses": MAX_REPLICA_STATUSES,
    "conditions": 32,
}
"""Field of the status -> longest list of the CRD."""


def within_limits(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status without numbers that the API server cannot read, and with texts and lists cut to its limits.

    A number that is too large is left out: a smaller one would be false. The required fields are all texts.
    """
    fields = ((name, _value(value, name)) for name, value in status.items())
    return {name: value for name, value in fields if value is not None and value != {}}


def _value(value: Any, field: str) -> Any:
    """Return the value of a field within its limits; None to leave it out."""
    if isinstance(value, str):
        # A lone surrogate cannot be encoded, so the status could not be sent.
        return value[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in INT64 else None
    if isinstance(value, Mapping):
        return within_limits(value)
    if isinstance(value, list | tuple):
        cut = (_value(item, field) for item in value[: MAX_ITEMS.get(field, len(value))])
        return [item for item in cut if item is not None]
    return None
