"""Bound what the caches hold, of one namespace and of all, so that no user takes the memory of the others."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from vllm_operator.kube.fair_share import FairShare

MAX_NAMESPACE_OBJECTS = 50_000
"""Objects of one namespace in the caches. A server with 10,000 replicas has 10,007; each takes 1 KiB and its JSON."""
MAX_NAMESPACE_BYTES = 64 * 1024 * 1024
"""Bytes of compressed JSON of one namespace. Objects of servers have 0.5 to 3 KiB each."""
ENTRY_BYTES = 1024
"""Bytes that the caches need for an object besides its JSON: 0.8 KiB were measured with 20,000 pods."""
MAX_CACHE_BYTES = 320 * 1024 * 1024
"""Bytes of all namespaces together, `ENTRY_BYTES` of each object included. One namespace may take a third of what is
free, so that one alone gets 80 MiB and the ninth after eight that take all they can gets 8. The operator needs 80 MiB
for itself, and its pod may have 512."""
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

NO_SHARE_LEFT = (
    f"the objects of all namespaces have {MAX_CACHE_BYTES // 1024**2} MiB at most, and those of its namespace use its "
    "share of that: delete objects with the label app.kubernetes.io/managed-by=vllm-operator"
)

logger = logging.getLogger(__name__)


class CacheBudget:
    """The number and the bytes of the cached objects by namespace."""

    def __init__(self) -> None:
        self._objects: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._share = FairShare(MAX_CACHE_BYTES)

    def lack_of_place(self, namespace: str) -> str:
        """Return why not even a stub of one more object may be kept; empty when it may."""
        if self._objects[namespace] >= MAX_NAMESPACE_OBJECTS:
            return TOO_MANY_OBJECTS
        return NO_SHARE_LEFT if self._share.left(namespace) < 2 * ENTRY_BYTES else ""

    def lack_of_bytes(self, namespace: str, size: int) -> str:
        """Return why one more object with this number of bytes may not be kept as a whole; empty when it may."""
        if self._bytes[namespace] + size > MAX_NAMESPACE_BYTES:
            return TOO_MANY_BYTES
        return NO_SHARE_LEFT if self._share.left(namespace) < size + ENTRY_BYTES else ""

    def add(self, namespace: str, size: int) -> None:
        """Count an object."""
        self._objects[namespace] += 1
        self._bytes[namespace] += size
        self._share.change(namespace, size + ENTRY_BYTES)

    def remove(self, namespace: str, size: int) -> None:
        """Count an object no longer."""
        self._objects[namespace] -= 1
        self._bytes[namespace] -= size
        self._share.change(namespace, -size - ENTRY_BYTES)
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
