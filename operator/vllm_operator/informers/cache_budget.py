"""Bound what the caches hold of one namespace, so that its users take no memory from the others."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

MAX_NAMESPACE_OBJECTS = 50_000
"""Objects of one namespace in the caches. A server with 10,000 replicas has 10,007; each takes 1 KiB and its JSON."""
MAX_NAMESPACE_BYTES = 64 * 1024 * 1024
"""Bytes of compressed JSON of one namespace. Objects of servers have 0.5 to 3 KiB each."""
LOG_INTERVAL_SECONDS = 60.0
"""Seconds between two log lines about one namespace; the second one says how many objects came in between."""
MAX_LOGGED_NAMESPACES = 1000
"""Namespaces of which the time of the last log line is remembered."""

TOO_MANY_BYTES = (
    f"the objects of its namespace have more than {MAX_NAMESPACE_BYTES // 1024**2} MiB together, the most that the "
    "operator keeps: delete large objects with the label app.kubernetes.io/managed-by=vllm-operator"
)
TOO_MANY_OBJECTS = (
    f"the operator keeps at most {MAX_NAMESPACE_OBJECTS:,} objects of a namespace: delete objects with the label "
    "app.kubernetes.io/managed-by=vllm-operator"
)

logger = logging.getLogger(__name__)


class CacheBudget:
    """The number and the bytes of the cached objects by namespace."""

    def __init__(self) -> None:
        self._objects: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def has_place(self, namespace: str) -> bool:
        """Return whether one more object of the namespace may be kept."""
        return self._objects[namespace] < MAX_NAMESPACE_OBJECTS

    def has_bytes(self, namespace: str, size: int) -> bool:
        """Return whether the namespace may have this number of bytes more."""
        return self._bytes[namespace] + size <= MAX_NAMESPACE_BYTES

    def add(self, namespace: str, size: int) -> None:
        """Count an object."""
        self._objects[namespace] += 1
        self._bytes[namespace] += size

    def remove(self, namespace: str, size: int) -> None:
        """Count an object no longer."""
        self._objects[namespace] -= 1
        self._bytes[namespace] -= size
        if not self._objects[namespace]:
            del self._objects[namespace], self._bytes[namespace]


class UnreadLog:
    """Log the objects that are not read, by name, at most once in LOG_INTERVAL_SECONDS for each namespace.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def log(self, kind: str, namespace: str, name: str, reason: str) -> None:
        """Log one object and the reason, or only count it."""
        now = self._clock()
        if now - self._last.get(namespace, float("-inf")) < LOG_INTERVAL_SECONDS:
            self._since[namespace] += 1
            return
        count = self._since.pop(namespace, 0)
        more = f" ({count} more in this namespace since the last line)" if count else ""
        logger.warning("%s %s/%s is not read: %s%s", kind, namespace, name, reason, more)
        self._last.pop(namespace, None)
        self._last[namespace] = now
        while len(self._last) > MAX_LOGGED_NAMESPACES:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._since.pop(oldest, None)
