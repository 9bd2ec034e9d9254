"""Correlate what happens to one server into Events, and limit how many are written. No I/O."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from vllm_operator.kube.token_bucket import TokenBucket

EventType = Literal["Normal", "Warning"]

MAX_MESSAGE_BYTES = 1024
"""Bytes of the message of an Event, a limit of the API server."""

MAX_SIMILAR_EVENTS = 10
"""Messages of one type and reason that get an Event each. Further ones share one, as in client-go."""

_POD_SUFFIX = re.compile(r"-[bcdf-hj-np-tv-xz24-9]{4,10}-[bcdf-hj-np-tv-xz24-9]{5}(?![a-z0-9])")
"""The suffix that Kubernetes appends to a Deployment's name for its pods. The same cause in the next pod gets no other
Event."""

MAX_EVENTS_OF_SERVER = 100
"""Events that are remembered of one server, up to 2 KB each; the oldest goes first, and is counted from 1 again."""

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
        of_namespace: limits the writes for all servers of the namespace.

    Attributes:
        write_lock: held during a write: two writers would start from the same count.
    """

    def __init__(
        self, namespace: str, server: str, uid: str, clock: Callable[[], float], of_namespace: TokenBucket
    ) -> None:
        self.namespace, self.server, self.uid = namespace, server, uid
        self.write_lock = asyncio.Lock()
        self._events: dict[str, CorrelatedEvent] = {}
        self._tokens, self._of_namespace = TokenBucket(MAX_TOKENS, REFILL_SECONDS, clock), of_namespace

    def observe(self, event_type: EventType, reason: str, message: str, now: datetime) -> CorrelatedEvent:
        """Count an occurrence; return its Event, in which it is pending."""
        self._forget_expired(now)
        message = message[: MAX_MESSAGE_BYTES + 1]
        shortened = truncate(message)
        name = self._name(event_type, reason, _POD_SUFFIX.sub("", shortened))
        if name not in self._events and self._similar(event_type, reason) >= MAX_SIMILAR_EVENTS:
            shortened = truncate(COMBINED_PREFIX + message)
            name = self._name(event_type, reason, COMBINED_PREFIX)
        while name not in self._events and len(self._events) >= MAX_EVENTS_OF_SERVER:
            del self._events[next(iter(self._events))]
        event = self._events.setdefault(name, CorrelatedEvent(name, event_type, reason, shortened, now, now))
        event.message, event.last, event.pending = shortened, now, event.pending + 1
        return event

    def pending(self) -> list[CorrelatedEvent]:
        """Return the Events with occurrences that are not written yet."""
        return [event for event in self._events.values() if event.pending]

    def take_token(self) -> bool:
        """Return whether the rate limits allow one more write, which then counts."""
        if not (self._tokens.has_token() and self._of_namespace.take()):
            return False
        return self._tokens.take()

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
