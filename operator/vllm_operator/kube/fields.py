"""Read fields of Kubernetes objects that may be missing or have another type than expected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vllm_operator.kube.types import Object

_EMPTY: Mapping[str, Any] = {}


def get(source: object, *path: str) -> object:
    """Return the value at a path of keys; None where a key is missing."""
    for key in path:
        # The caches hold plain dicts, for which the first test is enough and faster.
        if type(source) is not dict and not isinstance(source, Mapping):
            return None
        source = source.get(key)
    return source


def get_str(source: object, *path: str) -> str:
    """Return the string at a path; empty where there is none."""
    value = get(source, *path)
    return value if isinstance(value, str) else ""


def get_int(source: object, *path: str) -> int:
    """Return the integer at a path; 0 where there is none (the API server omits zeros)."""
    value = get(source, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def get_map(source: object, *path: str) -> Object:
    """Return the object at a path; empty where there is none."""
    value = get(source, *path)
    return value if isinstance(value, Mapping) else _EMPTY


def get_list(source: object, *path: str) -> list[Object]:
    """Return the objects in the list at a path, without its items of other types."""
    value = get(source, *path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def get_condition(source: object, condition_type: str) -> Object:
    """Return the condition of a type; empty where there is none."""
    for entry in get_list(source, "status", "conditions"):
        if entry.get("type") == condition_type:
            return entry
    return _EMPTY


def format_timestamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it: RFC 3339 in UTC, with whole seconds. A naive time counts as UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return utc.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_time(timestamp: str) -> datetime | None:
    """Return the time of a Kubernetes timestamp, in UTC; None when it is invalid, or outside of the years 1 to 9999."""
    try:
        parsed = datetime.fromisoformat(timestamp)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def seconds_between(start: str, end: str) -> float | None:
    """Return the seconds from one Kubernetes timestamp to another; None when one is invalid."""
    first, last = parse_time(start), parse_time(end)
    return (last - first).total_seconds() if first and last else None


def time_before(timestamp: str, seconds: int) -> str:
    """Return the Kubernetes timestamp some seconds before another one; that one itself when it is invalid."""
    moment = parse_time(timestamp)
    try:
        return format_timestamp(moment - timedelta(seconds=seconds)) if moment else timestamp
    except OverflowError:
        return timestamp
