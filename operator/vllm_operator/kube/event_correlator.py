"""What happened to one server: which occurrences are the same, and how many may be written. No I/O."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

NOTE_BYTES = 1024
SIMILAR = 10
"""Different notes of one reason that get an Event each; further ones share one, as client-go has it."""

_POD = re.compile(r"-[bcdf-hj-np-tv-xz24-9]{4,10}-[bcdf-hj-np-tv-xz24-9]{5}(?![a-z0-9])")
"""What Kubernetes appends to a Deployment's name for its pods: the same cause in the next pod is no other event."""

COMBINED = "(combined from similar events): "
REMEMBERED = timedelta(hours=1)
"""As long as the API server keeps an Event."""

BURST = 25
REFILL_SECONDS = 300.0
"""Writes for one server: the limits of client-go's own filter."""


@dataclass
class CorrelatedEvent:
    """Something that happens again and again: one Event.

    Attributes:
        name: name of the Event, the same after a restart of the operator.
        first: when it was first seen by this process.
        last: when it was last seen.
        waiting: times that are not in the Event yet.
        written: count of the Event as far as this process wrote it; 0 before.
    """

    name: str
    kind: Literal["Normal", "Warning"]
    reason: str
    note: str
    first: datetime
    last: datetime
    waiting: int = 0
    written: int = 0


class EventCorrelator:
    """The occurrences of one server.

    Args:
        namespace: its namespace.
        server: its name.
        uid: its UID.
        clock: monotonic time in seconds.

    Attributes:
        writing: held by who writes: two writers would count from the same number.
    """

    def __init__(self, namespace: str, server: str, uid: str, clock: Callable[[], float]) -> None:
        self.namespace, self.server, self.uid = namespace, server, uid
        self.writing = asyncio.Lock()
        self._clock = clock
        self._known: dict[str, CorrelatedEvent] = {}
        self._tokens, self._counted = float(BURST), clock()

    @property
    def names(self) -> tuple[str, str]:
        """Namespace and name of the server."""
        return self.namespace, self.server

    def note(self, kind: Literal["Normal", "Warning"], reason: str, words: str, now: datetime) -> CorrelatedEvent:
        """Count one more occurrence of this; it waits to be written."""
        self._forget_old(now)
        note = cut(words)
        name = self._name(kind, reason, _POD.sub("", note))
        if name not in self._known and self._similar(kind, reason) >= SIMILAR:
            note = cut(COMBINED + words)
            name = self._name(kind, reason, COMBINED)
        found = self._known.setdefault(name, CorrelatedEvent(name, kind, reason, note, now, now))
        found.note, found.last, found.waiting = note, now, found.waiting + 1
        return found

    def waiting(self) -> list[CorrelatedEvent]:
        """What is not written yet."""
        return [occurrence for occurrence in self._known.values() if occurrence.waiting]

    def may_write(self) -> bool:
        """Whether one more write is within the limits; it counts."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._counted) / REFILL_SECONDS)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _name(self, kind: str, reason: str, note: str) -> str:
        words = "\0".join((self.uid, kind, reason, note))
        return f"{self.server}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"

    def _similar(self, kind: str, reason: str) -> int:
        return sum((other.kind, other.reason) == (kind, reason) for other in self._known.values())

    def _forget_old(self, now: datetime) -> None:
        for name, known in list(self._known.items()):
            if not known.waiting and now - known.last > REMEMBERED:
                del self._known[name]


def cut(words: str) -> str:
    """`words` in at most NOTE_BYTES bytes."""
    raw = words.encode()
    return words if len(raw) <= NOTE_BYTES else raw[: NOTE_BYTES - 3].decode(errors="ignore") + "…"
