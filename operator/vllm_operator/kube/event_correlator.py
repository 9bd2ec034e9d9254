"""Correlate what happens to one server into Events, and limit how many are written. No I/O."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

EventType = Literal["Normal", "Warning"]

MAX_MESSAGE_BYTES = 1024
"""Bytes of the message of an Event, a limit of the API server."""

MAX_SIMILAR_EVENTS = 10
"""Messages of one type and reason that get an Event each. Further ones share one, as in client-go."""

_POD_SUFFIX = re.compile(r"-[bcdf-hj-np-tv-xz24-9]{4,10}-[bcdf-hj-np-tv-xz24-9]{5}(?![a-z0-9])")
"""The suffix that Kubernetes appends to a Deployment's name for its pods. The same cause in the next pod gets no other
Event."""

COMBINED_PREFIX = "(combined from similar events): "
REMEMBERED = timedelta(hours=1)
"""Time for which an Event is kept here: as long as the API server keeps it."""

MAX_TOKENS = 25
REFILL_SECONDS = 300.0
"""Writes for one server: at most MAX_TOKENS at once, then one every REFILL_SECONDS, the limits of client-go."""


@dataclass
class CorrelatedEvent:
    """One Event, which counts what happens again and again.

    Attributes:
        name: name of the Event, the same after a restart of the operator.
        type: `Normal` or `Warning`.
        reason: CamelCase reason.
        message: the last message.
        first: time of the first occurrence in this process.
        last: time of the last occurrence.
        pending: occurrences that are not written yet.
        count: count of the Event as this process wrote it last; 0 before.
    """

    name: str
    type: EventType
    reason: str
    message: str
    first: datetime
    last: datetime
    pending: int = 0
    count: int = 0


class EventCorrelator:
    """The Events of one server.

    Args:
        namespace: its namespace.
        server: its name.
        uid: its UID.
        clock: monotonic time in seconds.

    Attributes:
        write_lock: held during a write: two writers would start from the same count.
    """

    def __init__(self, namespace: str, server: str, uid: str, clock: Callable[[], float]) -> None:
        self.namespace, self.server, self.uid = namespace, server, uid
        self.write_lock = asyncio.Lock()
        self._clock = clock
        self._events: dict[str, CorrelatedEvent] = {}
        self._tokens, self._refilled_at = float(MAX_TOKENS), clock()

    def observe(self, event_type: EventType, reason: str, message: str, now: datetime) -> CorrelatedEvent:
        """Count an occurrence; return its Event, in which it is pending."""
        self._forget_expired(now)
        shortened = truncate(message)
        name = self._name(event_type, reason, _POD_SUFFIX.sub("", shortened))
        if name not in self._events and self._similar(event_type, reason) >= MAX_SIMILAR_EVENTS:
            shortened = truncate(COMBINED_PREFIX + message)
            name = self._name(event_type, reason, COMBINED_PREFIX)
        event = self._events.setdefault(name, CorrelatedEvent(name, event_type, reason, shortened, now, now))
        event.message, event.last, event.pending = shortened, now, event.pending + 1
        return event

    def pending(self) -> list[CorrelatedEvent]:
        """Return the Events with occurrences that are not written yet."""
        return [event for event in self._events.values() if event.pending]

    def take_token(self) -> bool:
        """Return whether the rate limit allows one more write, which then counts."""
        now = self._clock()
        self._tokens = min(MAX_TOKENS, self._tokens + (now - self._refilled_at) / REFILL_SECONDS)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _name(self, event_type: str, reason: str, message: str) -> str:
        content = "\0".join((self.uid, event_type, reason, message))
        return f"{self.server}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def _similar(self, event_type: str, reason: str) -> int:
        return sum((event.type, event.reason) == (event_type, reason) for event in self._events.values())

    def _forget_expired(self, now: datetime) -> None:
        for name, event in list(self._events.items()):
            if not event.pending and now - event.last > REMEMBERED:
                del self._events[name]


def truncate(message: str) -> str:
    """Return the message in at most MAX_MESSAGE_BYTES bytes of UTF-8."""
    raw = message.encode()
    return message if len(raw) <= MAX_MESSAGE_BYTES else raw[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "…"
