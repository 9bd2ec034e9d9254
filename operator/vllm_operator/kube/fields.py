"""Reading Kubernetes objects of which any field may be missing or of another shape than expected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vllm_operator.kube.types import Object

_NOTHING: Mapping[str, Any] = {}


def get(source: object, *path: str) -> object:
    """The value below `path`, or None where the way there ends."""
    for key in path:
        # The first test spares the slower one for the plain dicts that the caches hold.
        if type(source) is not dict and not isinstance(source, Mapping):
            return None
        source = source.get(key)
    return source


def get_str(source: object, *path: str) -> str:
    """The string below `path`; empty where there is none."""
    value = get(source, *path)
    return value if isinstance(value, str) else ""


def get_int(source: object, *path: str) -> int:
    """The whole number below `path`; 0 where there is none (the API server omits zeros)."""
    value = get(source, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def get_map(source: object, *path: str) -> Object:
    """The object below `path`; empty where there is none."""
    value = get(source, *path)
    return value if isinstance(value, Mapping) else _NOTHING


def get_list(source: object, *path: str) -> list[Object]:
    """The objects in the list below `path`; whatever else the list holds is left out."""
    value = get(source, *path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def get_condition(source: object, kind: str) -> Object:
    """The condition of type `kind` of a Kubernetes object; empty where there is none."""
    for entry in get_list(source, "status", "conditions"):
        if entry.get("type") == kind:
            return entry
    return _NOTHING


def format_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times; a naive time is taken for UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return utc.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_time(stamp: str) -> datetime | None:
    """The time that Kubernetes wrote; None when it is no time."""
    try:
        parsed = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def seconds_between(start: str, end: str) -> float | None:
    """Seconds from one Kubernetes time to another; None when either is no time."""
    first, last = parse_time(start), parse_time(end)
    return (last - first).total_seconds() if first and last else None


def time_before(stamp: str, seconds: int) -> str:
    """The Kubernetes time that lies `seconds` before `stamp`; `stamp` itself when that is no time."""
    moment = parse_time(stamp)
    try:
        return format_timestamp(moment - timedelta(seconds=seconds)) if moment else stamp
    except OverflowError:
        return stamp
