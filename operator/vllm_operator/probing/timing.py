"""When a replica is asked next: pure, in seconds of a monotonic clock."""

from __future__ import annotations

import math
import zlib

from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.targets import ProbeTarget

RETRY_SECONDS = 1.0
"""Pace of asking a replica that is starting, and pause before a failure is confirmed."""

REFRESH_SECONDS = 600.0
"""How often a serving replica is asked again for what hardly changes: its version and capacity."""


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
