"""When a replica is asked next: pure, in seconds of a monotonic clock."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from vllm_operator.probing.health import ReplicaHealth

RETRY_SECONDS = 1.0
"""Pace of asking a replica that is starting, and pause before a failure is confirmed."""

REFRESH_SECONDS = 600.0
"""How often a serving replica is asked again for what hardly changes: its version and capacity."""

Completion = Literal["Never", "WhenSuspicious", "Always"]
ApiKey = Callable[[], str | None] | str | None


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One pod to ask.

    Attributes:
        key: `namespace/name` of its server.
        pod: name of the pod.
        uid: of the pod; another uid is another replica, of which nothing is known.
        base_url: such as `http://10.1.2.3:8000`.
        served_names: names that it must list: those that this very pod was started with.
        interval: seconds between two probes.
        completion: when it is asked for a completion: `Never`, `WhenSuspicious` or `Always`.
        stalled: the status calls its engine frozen, in these words; counts until the replica has been asked.
        ready: Kubernetes calls it ready.
        api_key: the key, or a function that returns it; never part of a repr.
    """

    key: str
    pod: str
    uid: str
    base_url: str
    served_names: tuple[str, ...]
    interval: float
    completion: Completion = "Never"
    stalled: str = ""
    ready: bool = True
    api_key: ApiKey = field(default=None, repr=False)

    @property
    def question(self) -> tuple[str, tuple[str, ...]]:
        """What decides the answer; a change of it makes the last one void."""
        return self.base_url, self.served_names

    def current_key(self) -> str | None:
        """The API key as it is now."""
        return self.api_key() if callable(self.api_key) else self.api_key


def next_probe(target: ProbeTarget, health: ReplicaHealth, *, served: bool, doubted: bool, now: float) -> float:
    """When to ask next.

    Args:
        health: the last answer that counts.
        served: the replica has served at least once.
        doubted: the last probe of a serving replica failed and waits to be confirmed.
    """
    starting = not served or health.reason == "ConnectionRefused"  # refused: its container starts again
    if doubted or starting:
        return now + min(RETRY_SECONDS, target.interval)
    return next_slot(target.uid, target.interval, now)


def next_slot(uid: str, interval: float, now: float) -> float:
    """The next slot of this pod: every `interval` seconds, shifted by a hash of its uid, at least half of it away."""
    shift = zlib.crc32(uid.encode()) / 2**32 * interval
    slot = (math.floor((now - shift) / interval) + 1) * interval + shift
    return slot if slot - now >= interval / 2 else slot + interval
