"""Back off after failed writes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.errors import ApiError

REFUSAL_SECONDS = 25.0
"""Shorter than the pause after which a refused server is looked at again."""

FAILURE_SECONDS = 0.5
"""Never longer than the pause after which a failed server is looked at again."""

LONGEST_SECONDS = 300.0


@dataclass(frozen=True)
class _Failure:
    of: tuple[str, str]
    count: int
    until: float
    error: ApiError


class WriteBackoff:
    """Writes for one server that failed: the same is sent again only after a growing, jittered pause.

    However often the server is looked at meanwhile. What was changed is sent at once.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failure] = {}

    def known(self, identity: tuple[str, str], applied: str, uid: str) -> ApiError | None:
        """Why the manifest with the hash `applied` failed for the object with `uid`, while it is not to be sent."""
        found = self._failures.get(identity)
        return found.error if found and found.of == (applied, uid) and self._clock() < found.until else None

    def count(self, identity: tuple[str, str]) -> int:
        """How often the last write of it has failed in a row."""
        found = self._failures.get(identity)
        return found.count if found else 0

    def note(self, identity: tuple[str, str], applied: str, uid: str, error: ApiError) -> None:
        """Remember a failure."""
        found = self._failures.get(identity)
        count = found.count + 1 if found and found.of == (applied, uid) else 1
        first = REFUSAL_SECONDS if error.is_refusal else FAILURE_SECONDS
        pause = min(first * 2 ** min(count - 1, 16), LONGEST_SECONDS) * random.uniform(0.6, 0.8)
        pause = max(pause, error.retry_after or 0.0)
        self._failures[identity] = _Failure((applied, uid), count, self._clock() + pause, error)

    def forget(self, identity: tuple[str, str]) -> None:
        """Forget what failed before: it went through."""
        self._failures.pop(identity, None)
