"""Times and durations as kubectl shows them."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def parse_time(text: object) -> datetime | None:
    """Return an RFC 3339 time of an object; None if it is none."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age(text: object, now: datetime | None = None) -> str:
    """Return the time since an RFC 3339 time, such as `4m` or `2d3h`; `<unknown>` if it is none."""
    since = parse_time(text)
    if since is None:
        return "<unknown>"
    return duration(((now or datetime.now(UTC)) - since).total_seconds())


def duration(seconds: float) -> str:
    """Return seconds as two units at most: `45s`, `4m12s`, `3h`, `2d3h`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in _STEPS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    shown = [part for part in parts[:2] if part]
    return "".join(shown[:1] if seconds >= 10 * 86_400 else shown) or "0s"
