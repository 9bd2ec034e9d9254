"""Judge the revisions of a server by the answers of their replicas, for `rollout.autoRollback`.

A new revision fails when its errors or its latency pass the limits of the alerts, while those of the revision before it
did not. Few requests prove little: see `_is_worse`. All is forgotten when the operator restarts, and then nothing is
taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vllm_operator.kube.key import Key
from vllm_operator.probing.service_counts import ServiceCounts, parse_service_counts

if TYPE_CHECKING:
    from vllm_operator.probing.replica import ProbedReplica

SAMPLE_SECONDS = 9.0
"""Shortest time between two samples of a replica: a little below the usual probe interval of 10 s."""

SLOT_SECONDS = 30.0
SLOTS = 10
"""Requests are summed over ten slots of 30 s: five minutes, the window of the alerts."""

OBSERVED_SECONDS = 60.0
"""Shortest time for which a new revision must have been observed: the first requests after a start are slow."""

PROBATION_SECONDS = 600.0
"""Time after the first sample of a revision in which it may be taken back. Later, something else has changed."""

MAX_REVISIONS = 4
"""Revisions of one server that are remembered: the new one, the one before it, and rollouts that were replaced."""

MIN_BAD = 5
"""Failed or slow requests below which nothing is taken back, whatever their share: one more than the alerts need."""

UNSEEN_BAD = 3
"""Failed requests that the old revision may have had in a longer run, without any in `n`: with 3 of `n` it would have
shown one with a probability of 95 % (the rule of three)."""

SLOW_SHARE = 0.01
"""Share of requests that may be slow: the limit is one of the 99th percentile."""


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """The limits of a server: the share of requests that may fail, and the seconds that 99 % may take."""

    error_ratio: float
    latency_seconds: float


@dataclass(eq=False, slots=True)
class ServiceRecord:
    """The last sample of one replica. Only this module writes to it.

    Attributes:
        counted: its requests since it started; None before the first sample.
        counted_at: time of the sample, in monotonic seconds.
    """

    counted: ServiceCounts | None = None
    counted_at: float = 0.0


@dataclass(eq=False, slots=True)
class RevisionRecord:
    """The requests of one revision.

    Attributes:
        first: time of its first sample, in monotonic seconds.
        last: time of its last sample.
        slots: start of each slot, and the requests in it.
    """

    first: float
    last: float
    slots: deque[tuple[float, ServiceCounts]] = field(default_factory=lambda: deque(maxlen=SLOTS))

    def add(self, counts: ServiceCounts, now: float) -> None:
        """Add the requests since the last sample of a replica."""
        self.last = now
        if self.slots and now - self.slots[-1][0] < SLOT_SECONDS:
            start, before = self.slots.pop()
            self.slots.append((start, before + counts))
        else:
            self.slots.append((now, counts))

    @property
    def counts(self) -> ServiceCounts:
        """The requests of its last five minutes."""
        oldest = self.last - SLOTS * SLOT_SECONDS
        return sum((counts for start, counts in self.slots if start >= oldest), ServiceCounts())


def service_failure(new: RevisionRecord, old: RevisionRecord, limits: ServiceLimits, now: float) -> str:
    """Return why a new revision serves worse than the one before it; empty while that is not certain."""
    if new.last - new.first < OBSERVED_SECONDS or now - new.first > PROBATION_SECONDS:
        return ""
    after, before = new.counts, old.counts
    if _is_worse((after.failed, after.requests), (before.failed, before.requests), limits.error_ratio):
        return (
            f"{after.failed:.0f} of {after.requests:.0f} requests to the new replicas failed with a server error "
            f"(limit {limits.error_ratio * 100:.6g}%), and {before.failed:.0f} of {before.requests:.0f} to those before"
        )
    if _is_worse((after.slow, after.finished), (before.slow, before.finished), SLOW_SHARE):
        return (
            f"{after.slow:.0f} of {after.finished:.0f} requests to the new replicas took longer than "
            f"{limits.latency_seconds:.6g} s (limit 1%), and {before.slow:.0f} of {before.finished:.0f} to those before"
        )
    return ""


def _is_worse(after: tuple[float, float], before: tuple[float, float], limit: float) -> bool:
    """Return whether the share of bad requests passes a limit, and did not before.

    Args:
        after: bad requests to the new revision, and all of them.
        before: the same of the revision before.
        limit: the share that is allowed.
    """
    bad, total = after
    bad_before, total_before = before
    if bad < MIN_BAD or not total_before or bad_before > limit * total_before:
        return False
    return bad / total > max(limit, (bad_before + UNSEEN_BAD) / total_before)


class ServiceQuality:
    """Keep the requests of each revision, of the servers whose targets have limits.

    All methods belong to the thread of the event loop.

    Args:
        on_change: called with the key of a server when a revision turns out to be worse; must not block.
        clock: monotonic seconds.
    """

    def __init__(self, on_change: Callable[[Key], None], clock: Callable[[], float]) -> None:
        self._on_change = on_change
        self._clock = clock
        self._servers: dict[Key, dict[str, RevisionRecord]] = {}
        self._limits: dict[Key, ServiceLimits] = {}

    def wants_sample(self, replica: ProbedReplica) -> bool:
        """Return whether the next probe of a replica is to read its requests."""
        if replica.target.limits is None or not replica.target.revision:
            return False
        service = replica.service
        is_due = service.counted is None or self._clock() - service.counted_at >= SAMPLE_SECONDS
        return is_due and replica.result.health.is_answering

    def on_metrics(self, replica: ProbedReplica, metrics: bytes) -> None:
        """Take a sample of a replica that has just answered.

        Args:
            replica: the replica.
            metrics: the body of its `/metrics`.
        """
        target, now = replica.target, self._clock()
        if target.limits is None or (counts := parse_service_counts(metrics, target.limits.latency_seconds)) is None:
            return
        before = replica.service.counted
        replica.service.counted, replica.service.counted_at = counts, now
        revisions = self._servers.setdefault(target.key, {})
        record = revisions.setdefault(target.revision, RevisionRecord(now, now))
        # The first sample may count requests from before this process was there.
        record.add(counts.since(before) if before else ServiceCounts(), now)
        self._limits[target.key] = target.limits
        while len(revisions) > MAX_REVISIONS:
            del revisions[min(revisions, key=lambda name: revisions[name].last)]
        if self.failure(target.key, target.revision):
            self._on_change(target.key)

    def failure(self, key: Key, revision: str) -> str:
        """Return why a revision serves worse than the one that served last; empty while that is not certain."""
        revisions: Mapping[str, RevisionRecord] = self._servers.get(key, {})
        new = revisions.get(revision)
        if new is None:
            return ""
        older = [record for name, record in revisions.items() if name != revision and record.first <= new.first]
        if not older:
            return ""
        return service_failure(new, max(older, key=lambda record: record.last), self._limits[key], self._clock())

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        self._servers.pop(key, None)
        self._limits.pop(key, None)
