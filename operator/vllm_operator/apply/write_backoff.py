"""Delay the repetition of writes that failed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.errors import ApiError

FIRST_REFUSAL_DELAY_SECONDS = 25.0
"""Shorter than the delay after which a refused server is reconciled again."""

FIRST_FAILURE_DELAY_SECONDS = 0.5
"""Never longer than the delay after which a failed server is reconciled again."""

MAX_DELAY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Failure:
    """The last failure of a write.

    Attributes:
        write: hash of the manifest and UID of the object.
        count: failures of this write in a row.
        until: when the same write may be sent again, on the clock of `WriteBackoff`.
        error: the error of the last one.
    """

    write: tuple[str, str]
    count: int
    until: float
    error: ApiError


class WriteBackoff:
    """The failed writes of one server: the same write is sent again only after a growing delay with jitter.

    The delay holds however often the server is reconciled in the meantime. A changed write is sent at once.

    Args:
        clock: monotonic time in seconds.
    """

    __slots__ = ("_clock", "_failures")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failure] = {}

    def recent_error(self, child: tuple[str, str], manifest_hash: str, uid: str) -> ApiError | None:
        """Return the error of a write, without its old traceback, while it is too early to send it again."""
        failure = self._failures.get(child)
        if failure is None or failure.write != (manifest_hash, uid) or self._clock() >= failure.until:
            return None
        return failure.error.with_traceback(None)

    def failure_count(self, child: tuple[str, str]) -> int:
        """Return how often the last write of the child has failed in a row."""
        failure = self._failures.get(child)
        return failure.count if failure else 0

    def record_failure(self, child: tuple[str, str], manifest_hash: str, uid: str, error: ApiError) -> None:
        """Record the failure of a write, and delay its repetition."""
        former = self._failures.get(child)
        count = former.count + 1 if former and former.write == (manifest_hash, uid) else 1
        first = FIRST_REFUSAL_DELAY_SECONDS if error.is_refusal else FIRST_FAILURE_DELAY_SECONDS
        delay = min(first * 2 ** min(count - 1, 16), MAX_DELAY_SECONDS) * random.uniform(0.6, 0.8)
        delay = max(delay, error.retry_after or 0.0)
        self._failures[child] = _Failure((manifest_hash, uid), count, self._clock() + delay, error)

    def record_success(self, child: tuple[str, str]) -> None:
        """Forget the failures of a child."""
        self._failures.pop(child, None)

    def clear(self) -> None:
        """Forget all failures."""
        self._failures.clear()
