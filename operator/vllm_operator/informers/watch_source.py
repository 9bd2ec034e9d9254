"""Define the collection that a reflector watches, and the delays of its retries."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.kube.kinds import GATEWAY, SERVER, Kind


def selector_of(kind: Kind) -> str | None:
    """Return the label selector of the objects of a kind that the operator caches; None for all objects."""
    return None if kind in (SERVER, GATEWAY) else MANAGED_SELECTOR


@dataclass(frozen=True)
class WatchSource:
    """One collection that a reflector lists and watches.

    Attributes:
        kind: the kind of its objects.
        path: URL path of the collection.
        relist: lists the collection into the caches and returns the resource version to watch from; empty when the API
            server does not serve the kind.
        is_served: returns whether the kind is installed; while it is not, the reflector sends no request.
    """

    kind: Kind
    path: str
    relist: Callable[[], Awaitable[str]]
    is_served: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class RelistPolicy:
    """Delays between two attempts of a reflector.

    Attributes:
        sleep: sleeps for a number of seconds, or until the API server is reachable again, and then returns True.
        first_seconds: delay after an attempt that lasted.
        longest_seconds: longest delay; it doubles with each short attempt in a row.
        longest_unreachable_seconds: longest delay while no connection is possible: such an attempt costs the API server
            nothing, and the first that succeeds ends every other backoff.
        absent_seconds: delay while the API server does not serve the kind.
        jitter: share by which each delay varies to both sides.
    """

    sleep: Callable[[float], Awaitable[bool]]
    first_seconds: float = 0.1
    longest_seconds: float = 8.0
    longest_unreachable_seconds: float = 8.0
    absent_seconds: float = 2.0
    jitter: float = 0.2

    def delay(self, short_attempts: int, *, reachable: bool = True) -> float:
        """Return the seconds to wait after a number of short attempts in a row."""
        longest = self.longest_seconds if reachable else self.longest_unreachable_seconds
        return self.jittered(min(self.first_seconds * 2 ** min(short_attempts, 16), longest))

    def jittered(self, seconds: float) -> float:
        """Return the delay, varied at random."""
        return seconds * random.uniform(1 - self.jitter, 1 + self.jitter)
