"""The places of synthetic completions that wait at the same time, shared by namespaces and by servers."""

from __future__ import annotations

from collections import Counter

from vllm_operator.kube.fair_share import FairShare
from vllm_operator.kube.key import Key

MAX_COMPLETIONS = 256
"""Synthetic completions that wait at the same time, of all replicas."""

MAX_RETESTS = MAX_COMPLETIONS // 2
"""Those among them that test an engine which is already known as stalled."""


class CompletionPlaces:
    """Give places out so that some are left for a namespace, and for a server, that has none.

    A namespace gets its `FairShare`, 64 places when it is alone, and a server another place only while it holds fewer
    than are then left to its namespace. So thousands of silent replicas of one tenant do not delay the test of another
    one's engine.
    """

    def __init__(self) -> None:
        self._retests = 0
        self._share = FairShare(MAX_COMPLETIONS)
        self._servers: Counter[Key] = Counter()

    def take(self, key: Key, *, is_retest: bool) -> bool:
        """Take a place for a replica of a server and return True; return False when there is none for it now.

        Args:
            key: the server.
            is_retest: the engine is already known as stalled.
        """
        free = min(self._share.free, MAX_RETESTS - self._retests) if is_retest else self._share.free
        left = self._share.left(key.namespace, free)
        if left <= 0 or left <= self._servers[key]:
            return False
        self._count(key, 1, is_retest=is_retest)
        return True

    def free(self, key: Key, *, is_retest: bool) -> None:
        """Give back a place that `take` has given."""
        self._count(key, -1, is_retest=is_retest)

    def _count(self, key: Key, change: int, *, is_retest: bool) -> None:
        self._share.change(key.namespace, change)
        self._retests += change if is_retest else 0
        self._servers[key] += change
        if not self._servers[key]:
            del self._servers[key]
