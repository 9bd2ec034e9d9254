"""The due time of the next probe: pure functions of seconds of a monotonic clock."""

from __future__ import annotations

import math
import zlib

from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.targets import ProbeTarget

RETRY_SECONDS = 1.0
"""Shortest interval of the probes of a starting replica, and delay before a failure is confirmed by a second probe."""

START_SHARE = 30
"""A start that has taken this many seconds is probed a second later each time: it ends unnoticed for a thirtieth of its
duration at most. A port on which nothing listens for hours is probed at the interval, like any other."""

REFRESH_SECONDS = 600.0
"""Interval at which probes of a serving replica request the values that hardly change: version and capacity."""


def next_probe(
    target: ProbeTarget,
    health: ReplicaHealth,
    *,
    has_served: bool,
    unconfirmed: bool,
    now: float,
    starting_since: float | None = None,
) -> float:
    """Return the due time of the next probe.

    Args:
        target: the replica.
        health: its last accepted result.
        has_served: the replica has served at least once.
        unconfirmed: the last probe of a serving replica failed and waits for confirmation.
        now: monotonic seconds.
        starting_since: time of the first probe of a start that lasts; None for one that has just begun.
    """
    is_starting = not has_served or health.reason == "ConnectionRefused"  # refused: its container starts again
    if unconfirmed:
        return now + min(RETRY_SECONDS, target.interval)
    if is_starting:
        started_for = 0.0 if starting_since is None else now - starting_since
        wait = max(RETRY_SECONDS, started_for / START_SHARE)
        if wait < target.interval or target.interval <= RETRY_SECONDS:
            return now + min(wait, target.interval)
    return next_slot(target.uid, target.interval, now)


def next_slot(uid: str, interval: float, now: float) -> float:
    """Return the next time slot of a pod that is at least half an interval away.

    A pod has one slot every `interval` seconds. A hash of its UID shifts the slots, so that the probes of many pods
    spread over the interval.
    """
    shift = zlib.crc32(uid.encode()) / 2**32 * interval
    slot = (math.floor((now - shift) / interval) + 1) * interval + shift
    return slot if slot - now >= interval / 2 else slot + interval
